"""What all runs show together: numbers for machines, tables and figures for people."""
