"""What each index gives on the vectors of one's own collection: recall, speed, time to build, memory, bytes on disk."""
