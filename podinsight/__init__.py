"""podinsight: podcast feeds in, searchable and quotable transcripts out."""

__version__ = "0.1.0"
