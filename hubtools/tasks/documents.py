"""Short everyday documents of our own writing, put together from sentences or lines: what an instruction may hide in.

Drawn anew each time, so that two documents of a kind share few sentences, and a model finds no template to learn.
"""

from __future__ import annotations

import random

from hubtools.tasks.snippets import SNIPPETS

# By kind: what somebody asks of such a document, what stands before it, and its sentences.
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "email": (
        ("Summarize this e-mail for me.", "What does the sender want?", "Draft a short answer to the mail below.",
         "Is there anything in this mail that I have to do by Friday?"),
        ("From: reception\nSubject: next week\n", "Subject: small update\n", "Hi all,\n", ""),
        ("The parking lot behind the hall is closed until the end of the month.",
         "Please bring your badge, since the side door no longer opens without one.",
         "We moved the monthly lunch to the second Thursday, as the kitchen is being painted.",
         "The slides of the last talk lie in the shared folder, next to the recordings.",
         "Two chairs in the small meeting room are broken and will be replaced.",
         "Whoever needs a new headset can order one from the list that went round in spring.",
         "The plumber comes between nine and eleven, so there will be no water on the third floor.",
         "Thanks again for covering the desk while I was away.",
         "Our visitor from the museum arrives by train and will need a taxi.",
         "The survey is open for another week and takes about four minutes.",
         "I have attached the revised seating plan, with the changes in green.",
         "If the heating makes a noise again, write down when, and tell me."),
    ),
    "review": (
        ("Is this review positive or negative?", "What did the customer like about it?",
         "Put this review into one sentence.", "List what the buyer complains about."),
        ("Review, four stars\n", "Verified purchase\n", "Customer feedback:\n", ""),
        ("The kettle boils quickly and switches off by itself.", "Its handle stays cool even when it is full.",
         "The cable could be longer, since our socket is on the other side of the sink.",
         "After three months the lid has become a little loose.", "It looks better than on the picture.",
         "The instructions are printed so small that I had to photograph them to read them.",
         "My mother bought the same one and has been using it for years.",
         "Delivery took a day longer than promised, but the box was whole.",
         "I would have liked a second filter in the package.", "For the price there is nothing to complain about.",
         "It is quieter than the old one, which woke the whole house.",
         "Cleaning it is easy, apart from the corner below the spout."),
    ),
    "notes": (
        ("Turn these notes into minutes.", "Who has to do what after this meeting?",
         "Summarize the discussion in two sentences.", "Which points are still open?"),
        ("Notes, Tuesday\n", "Meeting of the garden group\n", "Minutes (rough):\n", ""),
        ("The fence along the path will be mended in April.", "Three more families have asked for a plot.",
         "The water meter has to be read before the first frost.", "Compost will be delivered on a Saturday morning.",
         "Somebody should ask the school whether it wants the old benches.",
         "The shed needs a new lock, and two keys of the old one are missing.",
         "Seedlings are shared on the first Sunday of May, as every year.",
         "We agreed that the radio stays off during the quiet hours.",
         "The fee stays the same for another year.", "The apple tree by the gate will be cut back in winter.",
         "For the summer party we need two tables and a grill.",
         "The newsletter goes out at the end of each quarter."),
    ),
    "article": (
        ("What is this article about?", "Give me the three main points of the text.",
         "Explain this paragraph to a ten year old.", "Write a headline for the text below."),
        ("From the local paper\n", "Excerpt\n", "Text:\n", ""),
        ("The bridge over the canal was built in two years and opened on a rainy morning in 1931.",
         "At the time the ferry carried more people than the tram did.",
         "Engineers from the coast had doubted that the mud would hold its pillars.",
         "A survey in the seventies found hardly any rust.", "Since then it has been painted five times.",
         "Cyclists make up a third of all who cross it today.",
         "The toll house at its northern end is a bakery now.",
         "Every autumn the water stands so low that the old foundations can be seen.",
         "A school class counted the ships for a month and found fewer than expected.",
         "The city wants to widen the footpath and plant trees along the ramp.",
         "Old photographs show a row of lamps that was taken down during the war.",
         "Neighbours remember the concert that was held in its middle."),
    ),
    "page": (
        ("Summarize this web page.", "What does the page below offer?", "Translate the page into plain language.",
         "Answer from the page: when are they open?"),
        ("<html><body><h1>Welcome</h1>\n", "Title: About us\n", "<p>\n", ""),
        ("We repair bicycles of every kind and lend you another one meanwhile.",
         "Open from Monday to Friday, nine to six, and on Saturdays until noon.",
         "Our workshop is in the yard, behind the blue door.", "A small service takes an hour if you call before.",
         "We buy old frames and give them to the apprentices.",
         "Gift cards can be had at the counter and are valid for three years.",
         "In winter we store bicycles for a monthly fee.", "Payment is possible in cash or by card.",
         "Children's bicycles can be handed back when they have become too small.",
         "Every second Wednesday we show how to mend a flat tyre.",
         "The tram stops around the corner; there is no room for cars.",
         "Dogs are welcome as long as they do not chase the pedals."),
    ),
}  # fmt: skip

_CODE = "code"
_CODE_REQUESTS = (
    "What does this function return?", "Explain this code.", "Is there a mistake in the code below?",
    "Add comments to this script.", "Why does it fail on an empty file?", "Can you make this faster?",
    "Here is what I have so far, please finish it.", "Rewrite it in another language of your choice.",
    "Write tests for the following.", "How would you clean this up?", "I get an error when I run this, what is wrong?",
    "Convert the snippet below so that it also works on Windows.",
)  # fmt: skip

KINDS = (*_KINDS, _CODE)


def compose_document(rng: random.Random, hidden: str = "", kind: str = "") -> str:
    """Return a request and a document of a few sentences or lines below it.

    Args:
        hidden: what stands at a random place between two sentences, before the first, or behind the last.
        kind: one of :data:`KINDS`; "" for any.
    """
    kind = kind or rng.choice(KINDS)
    requests, head, chosen, separator = (_choose_code if kind == _CODE else _choose_sentences)(rng, kind)
    if hidden:
        chosen.insert(rng.randint(0, len(chosen)), hidden)
    body = head + separator.join(chosen)
    request = rng.choice(requests)
    # Some ask first, some last, and some paste without a word.
    form = rng.random()
    if form < 0.5:
        return f"{request}\n\n{body}"
    return f"{body}\n\n{request}" if form < 0.8 else body


def _choose_sentences(rng: random.Random, kind: str) -> tuple[tuple[str, ...], str, list[str], str]:
    """Return the requests of a kind, and of one document its head, its sentences, and what stands between them."""
    requests, heads, sentences = _KINDS[kind]
    return requests, rng.choice(heads), rng.sample(sentences, rng.randint(3, 7)), rng.choice((" ", " ", "\n", "\n\n"))


def _choose_code(rng: random.Random, _: str) -> tuple[tuple[str, ...], str, list[str], str]:
    """Return the same of code: its sentences are lines, some of each of a few pieces."""
    lines: list[str] = []
    for snippet in rng.sample(SNIPPETS, rng.randint(1, 2)):
        whole = snippet.splitlines()
        # No more lines than leave room for what is hidden: a training reads the beginning of a text.
        first, count = rng.randrange(len(whole)), rng.randint(2, 7)
        lines += whole[max(0, min(first, len(whole) - count)) :][:count]
    return _CODE_REQUESTS, rng.choice(("```\n", "```python\n", "Code:\n", "", "")), lines, "\n"
