"""Data sets and images from outside: idx files, downloads, pictures of drawn digits."""
