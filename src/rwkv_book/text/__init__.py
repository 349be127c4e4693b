"""What the book reads: text to tokens and back, corpora, reviews.

    tokenizers   text to tokens and back, also token by token
    corpora      the texts that the book trains on
    own_text     one's own text, or a folder of them, in its place
    corpus       works in bytes, some of them held out
    reviews      film reviews with a verdict, and a loop that learns them

Importing this room imports none of them.
"""

END_OF_TEXT = 0  # a byte that no text has, and <|endoftext|> of the 20B tokenizer
