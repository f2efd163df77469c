"""Generated files: their header and digest, and the names and the contract that they keep."""
