"""One program for each library, as its own documentation would write it."""
