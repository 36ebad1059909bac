"""What other tools keep on the disk, read for `semsearch import`."""
