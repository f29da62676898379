"""Says what is in a photo, by a ResNet-50.

{"bucket": {"bucket", "input", "model"}, "object": {"input", "model"}}; input and model are prefixes.
"""

import datetime
import os
import tempfile

import torch
from PIL import Image
from torchvision import transforms
from torchvision.models import ResNet50_Weights, resnet50

from . import storage

client = storage.storage.get_instance()

NAMES = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
PREPARE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)

_model = None


def handler(event):
    global _model
    bucket, places, names = event["bucket"]["bucket"], event["bucket"], event["object"]
    with tempfile.TemporaryDirectory() as folder:
        photo, weights = os.path.join(folder, "photo"), os.path.join(folder, "weights")
        begin = datetime.datetime.now()
        client.download(bucket, os.path.join(places["input"], names["input"]), photo)
        if _model is None:
            client.download(bucket, os.path.join(places["model"], names["model"]), weights)
        there = datetime.datetime.now()
        if _model is None:
            _model = load(weights)
        ready = datetime.datetime.now()
        best, score = recognise(photo)
    done = datetime.datetime.now()
    return {
        "result": {"idx": best, "class": NAMES[best], "score": round(score, 4)},
        "measurement": {
            "download_time": microseconds(there - begin),
            "model_time": microseconds(ready - there),
            "compute_time": microseconds(done - ready),
        },
    }


def load(path):
    model = resnet50()
    model.load_state_dict(torch.load(path))
    return model.eval()


def recognise(path):
    """Returns (the best class's number, its probability)."""
    with Image.open(path) as image:
        batch = PREPARE(image.convert("RGB")).unsqueeze(0)
    with torch.no_grad():
        probabilities = torch.softmax(_model(batch)[0], dim=0)
    best = int(probabilities.argmax())
    return best, float(probabilities[best])


def microseconds(span):
    return span / datetime.timedelta(microseconds=1)
