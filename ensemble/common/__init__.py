"""What every command needs, those of htd/, tools/ and benchmarks/ too."""
