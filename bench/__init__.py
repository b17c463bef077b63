"""What the project is timed against, and the table of what it should reach. Not shipped: `make bench` runs it here."""
