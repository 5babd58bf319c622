"""intent: requests in other words around the same core, so that neither length nor politeness tells the kind."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hubtools.spec import Augmentation, Example
from hubtools.tasks.demands import DEMANDS

# How a request may begin, and what can stand in the place of such a beginning.
_ASK = re.compile(
    r"^(?:(?:hello|hi|hey)[,!.]? )?(?:can|could|would) you (?:please )?|^(?:(?:hello|hi|hey)[,!.]? )?please ", re.I
)
_FORMS = (
    "", "Please ", "Could you ", "Can you please ", "Would you be so kind as to ", "I need you to ", "I'd like you to ",
    "I would like to kindly request that you ", "I was wondering whether you could ", "It would be great if you could ",
    "I would greatly appreciate it if you could ", "Would it be possible for you to ", "Can you help me and ",
    "I'm looking for someone who can ", "My question is whether you can ", "You should now ", "I want you to ",
    "Is there any way you could ", "Your task: ", "Do me a favour and ", "What I need is simple: ", "pls ",
    "go ahead and ",
)  # fmt: skip
_QUESTIONS = ("Could", "Can", "Would", "Is")
_BEFORE = (
    "Hi there!", "Good morning.", "Hello, I hope you are well.", "I hope you can help me with something.", "Quick one.",
    "I've never done this before.", "I run a small bakery.", "We are a team of seven.", "My sister asked me yesterday.",
    "I'm in a bit of a hurry.", "This has been on my mind for days.", "Sorry to bother you again.",
    "So here's the thing.",
    "I'm new here and still finding my way around.", "I live in a village with one bus a day.", "It's for my manager.",
    "I work as a nurse and have little time.", "My last attempt went wrong.", "We talked about this last week.",
    "I'm preparing for an important presentation and want everything to be right.", "OK, next.", "One more thing.",
    "As someone who has worked in this field for years, I know how tricky it can be.", "My colleagues count on me.",
    "I tried it by hand and gave up.", "This is ridiculous, I've been waiting for an hour!", "I'm so frustrated today.",
    "For the past few weeks my friend and I have been working on a little project together, and we're nearly there.",
    "I'm currently a student and money is tight.", "My daughter is sitting next to me and is curious, too.",
    "Thank you for your help earlier.", "Great, that worked.", "I don't know whom else to ask.", "Listen carefully.",
)  # fmt: skip
_BEHIND = (
    "Thanks!", "Thank you so much in advance.", "I'd be very grateful.", "It's urgent.", "No rush.",
    "Is that possible?",
    "I'd like to have it before lunch.", "Let me know if anything is unclear.", "My team is waiting for it.", "thx",
    "Any help is appreciated.", "Can you help me with that?", "I really need this to work out.", "Please be careful.",
    "That would save me a lot of trouble.", "I've got no idea how to go about it myself.", "You're the best.", "pls",
    "I want to be sure that nothing is forgotten, because last time it was rather embarrassing.", "Take your time.",
    "My partner will be pleased.", "And be quick about it.", "This is for a friend of mine.", "Hope that makes sense.",
    "If you need anything else from me to do this properly, just say so and I'll provide it.", "That's all for today.",
)  # fmt: skip


def reword(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows, each class as often as any other, asked for in another form, with sentences before and behind."""
    by_label: dict[str, list[Example]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    while by_label:
        for label in sorted(by_label):
            row = rng.choice(by_label[label])
            text = row.text.strip()
            core = _ASK.sub("", text, count=1)
            if core != text and core:
                form = rng.choice(_FORMS)
                text = form + core if form else core[0].upper() + core[1:]
                # A question that has become a statement ends as one.
                if not form.startswith(_QUESTIONS):
                    text = re.sub(r"\?$", ".", text)
            before = rng.sample(_BEFORE, rng.choice((0, 1, 1, 2, 3)))
            behind = rng.sample(_BEHIND, rng.choice((0, 0, 1, 2)))
            if rng.random() < 0.25:
                behind.insert(0, rng.choice(DEMANDS))
            text = rng.choice((" ", " ", " ", "\n")).join([*before, text, *behind])
            if rng.random() < 0.2:
                text = text.lower()
            if rng.random() < 0.15:
                text = re.sub(r"[.?!,](?=\s|$)", "", text)
            yield replace(row, text=text)


AUGMENTATIONS = (Augmentation("reworded", 0.3, reword, "requests in another form, with a few sentences around them"),)
