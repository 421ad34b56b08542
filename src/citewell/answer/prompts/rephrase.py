"""How a question is put in other words when the first search found nothing of use."""

REPHRASE = """\
A search in documents found nothing that answers the question below. Write it once more, as one \
short question or line, in the words that a document about it would use: the usual terms, \
synonyms, abbreviations written out. Keep its meaning, its names and its numbers. Do not answer it.
"""
