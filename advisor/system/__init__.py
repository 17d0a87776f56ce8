"""What the machine offers: devices, files, the screen, progress."""
