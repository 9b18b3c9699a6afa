"""Where moderate's ports meet technology: one file each."""
