"""The order in which a search meets a random graph's vertices, breadth first: {"size": vertices, "seed": number}."""

import datetime
import random

import igraph

# Edges that each new vertex brings.
EDGES = 10


def handler(event):
    if "seed" in event:
        random.seed(event["seed"])
    begin = datetime.datetime.now()
    graph = igraph.Graph.Barabasi(event["size"], EDGES)
    made = datetime.datetime.now()
    result = graph.bfs(0)[0]
    done = datetime.datetime.now()
    return {
        "result": result[:100],
        "measurement": {"graph_generating_time": microseconds(made - begin), "compute_time": microseconds(done - made)},
    }


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
