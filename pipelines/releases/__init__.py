"""What people do with releases: look, compare, roll back, verify, clean."""
