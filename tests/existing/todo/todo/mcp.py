from fastmcp import FastMCP

app = FastMCP("Todo", instructions="Keeps what is to be done.")

items: list[str] = []


@app.tool
def add_item(text: str) -> int:
    """Add an item, and return how many there are."""
    items.append(text)
    return len(items)
