"""Projects to start from: six common jobs with labels or fields and instructions that can be used as they are."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Starter:
    """`name` is offered as the project's name; `schema` is valid for `task_type`; `instructions` are plain lines."""

    name: str
    task_type: str
    schema: dict[str, Any]
    instructions: str


def _labels(**descriptions: str) -> dict[str, Any]:
    return {"labels": [{"name": name, "description": description} for name, description in descriptions.items()]}


STARTERS = (
    Starter("Support tickets", "classification", _labels(
        billing="Invoices, charges, refunds, payment methods, prices.",
        technical="Something that should work does not: errors, crashes, outages, lost data.",
        account="Log-in, password, personal data, users and rights, closing the account.",
        how_to="Everything works; the customer asks how to do something.",
        feature_request="The customer asks for something that the product cannot do.",
        other="None of the above, or no request at all: thanks, spam, an automatic reply."), """\
Choose the one label that says who has to act on this ticket first.
Judge what the customer asks for, not the mood and not the words in the subject line.
Several requests: choose the one that keeps the customer from working; if none does, the one named first.
Charged twice because of an error in the product: billing, since the money has to be put right first.
Cannot log in because the site is down: technical. Cannot log in because of a forgotten password: account.
“It would be nice if …”: feature_request, even if it sounds like a complaint.
Ignore quoted earlier mails and signatures. Nothing is left without them: other.
If you cannot decide between two labels after reading twice, skip the ticket rather than guess."""),
    Starter("Legal entities", "extraction", {"json_schema": {
        "type": "object",
        "properties": {
            "document_type": {"enum": ["contract", "judgment", "pleading", "letter", "other"]},
            "parties": {"type": "array", "items": {"type": "string"},
                        "description": "persons and organisations that act in their own name, as the text names them"},
            "court": {"type": "string", "description": "the court that decides or is addressed"},
            "case_number": {"type": "string", "description": "exactly as written, with its signs"},
            "date": {"type": "string", "description": "of the document, as YYYY-MM-DD"},
            "amounts": {"type": "array", "items": {"type": "string"},
                        "description": "sums of money in dispute or owed, with their currency"},
            "governing_law": {"type": "string", "description": "the law that the document says applies"},
            "legal_bases": {"type": "array", "items": {"type": "string"},
                            "description": "statutes and articles that the text relies on"}},
        "required": ["document_type", "parties"]}}, """\
Write down what the document says, and nothing that you know from elsewhere or work out yourself.
Copy names, numbers and articles as they are written; only dates are rewritten, as YYYY-MM-DD.
A date of which the day is missing is left out.
Leave a field out if the document says nothing about it. Do not write “none” or “unknown”.
Parties act in their own name: lawyers, judges and witnesses are no parties. A company and its director are two \
parties only if both are named as such.
A party that is named in several ways is written once, in its fullest form.
Of several dates take the one on which the document was signed or handed down.
Amounts keep their currency: “EUR 12,500”. Court fees are no amounts in dispute."""),
    Starter("Expert answers", "response", {"max_chars": 2000, "guidance": """\
A good answer is right, complete enough to act on, and says in its first sentence what the reader wanted to know."""},
            """\
Answer the question as you would answer a colleague from another field.
Answer first, then the reason, then exceptions. Leave out what was not asked.
Write only what you would put your name to. If it depends on something that the question does not say, name what it \
depends on and answer each case.
If the question rests on an error, say so in the first sentence and answer what was meant.
Give a number with its unit, and the source where somebody might check it.
Skip a question outside your field. Do not look the answer up in a chatbot: the point is what you know."""),
    Starter("Brief summaries", "response", {"max_chars": 900, "guidance": """\
Three to five sentences: what it is about, what was decided or is asked for, why, and what follows."""}, """\
Summarise the text for somebody who has to decide whether to read it.
Write only what the text says: no opinion, no background, nothing of your own.
Keep names, dates and amounts that the outcome depends on; leave the others out.
What is claimed stays a claim: “the tenant says that …”, unless the text says that it was found to be so.
Keep what limits a statement: “not”, “only”, “at the latest”.
Use your own plain words; quote only where the wording itself is in dispute.
A text that is cut off or in several parts is summarised as far as it goes. Skip one that cannot be read."""),
    Starter("Better answer", "preference", {"allow_tie": True}, """\
Choose the answer that helps the person who wrote the text more.
In this order: it is right; it answers what was asked; nothing needed is missing; nothing needless is in it; it reads \
well.
A wrong fact that matters outweighs everything else, however well the answer reads.
Longer is not better, and neither is more polite or more sure of itself.
An answer that refuses is worse than a good one, and better than a harmful one.
Choose tie if you would be equally content, or equally unhappy, with both. Do not choose it to save time.
The sides are drawn at random: left and right mean nothing."""),
    Starter("Names in text", "spans", _labels(
        PERSON="A named human being, real or invented.",
        ORGANISATION="A named company, authority, party, club or team.",
        PLACE="A named country, town, street, river, building.",
        DATE="A day, month, year or span of time that could be found in a calendar."), """\
Mark every name in the text, each time it stands there, with the label that fits what is meant here.
Mark the whole name and nothing else: without article, title, quotation marks, punctuation or a possessive ’s.
“Dr. Ada Lovelace’s notes”: mark “Ada Lovelace”.
A name in a name is part of the longer one: “University of Oxford” is one ORGANISATION, not also a PLACE.
“Germany won the match”: the team, ORGANISATION. “in Germany”: PLACE.
Pronouns and descriptions (“she”, “the minister”) are no names.
Adjectives from names (“German”, “Kafkaesque”) are not marked.
DATE needs a day, month or year: “on 3 May”, “in 2021”, but not “yesterday” or “soon”.
If there is nothing to mark, submit the text without a mark."""),
)
