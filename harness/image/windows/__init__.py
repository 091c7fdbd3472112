"""Windows images from a user's own installation medium: nothing of Microsoft's or Intel's is shipped or fetched."""
