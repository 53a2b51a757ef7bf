"""Reports to look at: one HTML file each, with all it shows inside, that opens anywhere without a network."""
