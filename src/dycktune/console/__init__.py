"""The live view of a command in the terminal, and its plain lines elsewhere."""
