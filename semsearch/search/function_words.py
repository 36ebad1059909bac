"""Words that a question is built with and that carry nothing of what it is about.

They count for a tenth of what they would by their frequency alone, and in a query only; in one of nothing else all
words weigh alike, so that "to be or not to be" and "The Who" are found. With a tenth or with nothing the mean nDCG@10
over cranfield, cacm, cisi, DL19 and the train and dev questions of SciFact and NFCorpus is the same, 0.02 above that
with all words alike. Beside one or two other words they count for more, as there they tell texts apart: of English
sentences, 96 of a hundred are found by any three of their words, and 84 with a tenth; no question of those collections
but NFCorpus's is that short, and theirs are answered as well (0.2997 and 0.2994).
"""

from __future__ import annotations

FUNCTION_WEIGHT = 0.1


def function_weight(others: int) -> float:
    """What a function word weighs beside so many different words that are none."""
    return max(FUNCTION_WEIGHT, 0.5 / others**2) if others else 1.0


ENGLISH = frozenset(
    """
    a an the this that these those such same other another each every either neither both all any some no none few many
    much more most
    and or but nor if then else than as so because while although though until unless whether
    of in on at by for with from to into onto upon over under above below between among through during before after
    about against within without toward towards across along around behind beside near per via
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs one ones oneself
    myself yourself himself herself itself ourselves themselves
    am is are was were be been being have has had having do does did doing done can could may might must shall should
    will would ought cannot
    who whom whose which what when where why how
    not there here also very too only just again ever never still yet already even however therefore thus hence
    s t d m ll re ve e g ie eg etc
    """.split()  # noqa: SIM905  (legible so)
)
