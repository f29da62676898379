"""The minimum spanning tree of a random graph: {"size": vertices, "seed": number}."""

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
    result = graph.spanning_tree(return_tree=False)
    done = datetime.datetime.now()
    return {
        "result": result[:100],
        "measurement": {"graph_generating_time": microseconds(made - begin), "compute_time": microseconds(done - made)},
    }


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
