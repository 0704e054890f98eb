"""What every step shares: its command line, logs and progress, atomic files, device, code fingerprint."""
