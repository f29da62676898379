"""Makes a page from a template: {"username": text, "random_len": how many numbers, "seed": number}."""

import datetime
import random
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

FOLDER = Path(__file__).resolve().parent


def handler(event):
    if "seed" in event:
        random.seed(event["seed"])
    numbers = random.sample(range(1_000_000), event.get("random_len", 1000))
    pages = Environment(loader=FileSystemLoader(FOLDER), autoescape=select_autoescape(["html"]))
    page = pages.get_template("page.html").render(
        username=event.get("username", ""), date=datetime.date.today().isoformat(), numbers=numbers
    )
    return {"result": page}
