"""The networks: teachers and students, how they are built, kept in files, and read from other people's files."""
