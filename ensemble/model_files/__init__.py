"""Model files: opened whoever saved them, fed and read as they were, and joined to one."""
