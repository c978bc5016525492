"""What a sequence model is trained for, one file each."""
