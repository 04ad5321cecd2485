"""What several mains share: the command line, the run of a training, the record and the print of a result."""
