"""What snapshot.py trains and shows."""
