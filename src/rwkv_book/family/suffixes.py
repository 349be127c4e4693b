"""What RWKV-8 is about: an automaton that knows every piece of a text.

A suffix automaton has one place for all pieces of a text that end at the same spots. It
grows by a token at a time, and its newest place has a link to the longest ending of the
text that was there before. What followed then is what it says now: no parameters, no
similarity, and nothing is ever forgotten. Sources: Blumer et al. 1985, for the
automaton; RWKV-8's "rapid online suffix automaton" (ROSA), github.com/BlinkDL/RWKV-LM,
for the use that is made of it.
"""


class Automaton:
    """All pieces of the tokens that were read. A place has edges {token: place}, the
    length of its longest piece, a link to a shorter ending, and its latest end."""

    def __init__(self):
        self.tokens, self.here = [], 0
        self.edges, self.length, self.link, self.end = [{}], [0], [-1], [-1]

    def read(self, token):
        """What followed the longest ending of the text when it was last there, and how
        long that ending is: (token, length), or (None, 0) for a token never seen."""
        at, self.here = self.here, self.add(self.length[self.here] + 1)
        while at >= 0 and token not in self.edges[at]:
            self.edges[at][token], at = self.here, self.link[at]
        self.link[self.here] = self.shorter(at, token) if at >= 0 else 0
        self.tokens.append(token)
        seen = self.link[self.here]
        said = self.tokens[self.end[seen] + 1] if seen else None
        at = self.here
        while at > 0:  # all endings of the text have just ended here
            self.end[at], at = len(self.tokens) - 1, self.link[at]
        return said, self.length[seen]

    def shorter(self, at, token):
        """The place of the piece of `at` with a token more; it may have to be split."""
        other, length = self.edges[at][token], self.length[at] + 1
        if self.length[other] == length:
            return other
        split = self.add(length, dict(self.edges[other]), self.link[other])
        self.end[split], self.link[other] = self.end[other], split
        while at >= 0 and self.edges[at].get(token) == other:
            self.edges[at][token], at = split, self.link[at]
        return split

    def add(self, length, edges=None, link=-1):
        """A new place; its number."""
        self.edges.append(edges or {})
        self.length.append(length)
        self.link.append(link)
        self.end.append(-1)
        return len(self.edges) - 1


def followed(tokens):
    """(token, length) after each of the tokens, as `Automaton.read` says it."""
    automaton = Automaton()
    return [automaton.read(token) for token in tokens]


def written_on(tokens, count):
    """The tokens that it writes after a text, each read before the next; fewer where
    it has nothing to say."""
    automaton, found = Automaton(), []
    said = [automaton.read(token) for token in tokens][-1][0]
    while said is not None and len(found) < count:
        found.append(said)
        said = automaton.read(said)[0]
    return found
