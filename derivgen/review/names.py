"""Names that are others now, in formulas and in code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from derivgen.form.formulas import NAME

WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Names:
    """Pairs of old and new names; `kept`: words that mean what they meant before."""

    pairs: Mapping[str, str] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    def of(self, word: str) -> str:
        """`a_bar` → `b_bar` where a is now b."""
        if word in self.pairs or word in self.kept or not self.pairs:
            return self.pairs.get(word, word)
        longest_first = sorted(self.pairs, key=len, reverse=True)
        part = rf"(?:(?<=_)|^)(?:{'|'.join(map(re.escape, longest_first))})(?=_|$)"
        return re.sub(part, lambda m: self.pairs[m[0]], word)

    def in_formula(self, line: str) -> str:
        return NAME.sub(lambda m: self.of(m[0]), line)

    def in_code(self, text: str) -> str:
        return WORD.sub(lambda m: self.of(m[0]), text)


def words_in(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(text))
