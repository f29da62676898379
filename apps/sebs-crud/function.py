"""A shop's carts in a key-value store: {"requests": [{"route", "body"}, …]}.

PUT /cart adds a product to a cart, GET /cart/{id} tells about one, GET /cart about all and what they cost.
"""

from . import nosql

TABLE = "shopping_cart"

client = nosql.nosql.get_instance()


def handler(event):
    return {"result": [answer(request["route"], request["body"]) for request in event["requests"]]}


def answer(route, body):
    cart = ("cart_id", body["cart"])
    if route == "PUT /cart":
        item = {name: body[name] for name in ("name", "price", "quantity")}
        client.insert(TABLE, cart, ("product_id", body["product_id"]), item)
        return {}
    if route == "GET /cart/{id}":
        return client.get(TABLE, cart, ("product_id", body["product_id"]))
    if route == "GET /cart":
        return total(client.query(TABLE, cart, "product_id"))
    raise ValueError(f"there is no {route}")


def total(products):
    quantity = sum(product["quantity"] for product in products)
    cost = sum(product["price"] * product["quantity"] for product in products)
    return {
        "products": [product["name"] for product in products],
        "total_cost": cost,
        "avg_price": cost / quantity if quantity else 0,
    }
