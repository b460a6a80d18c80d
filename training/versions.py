"""Which packages a training depends on, and in which version they are installed."""

from importlib.metadata import PackageNotFoundError, version
from platform import python_version

PACKAGES = ("torch", "transformers", "peft", "trl", "safetensors", "numpy")  # of a receipt and a model card
NEEDED = (*PACKAGES, "accelerate", "datasets", "huggingface_hub", "tokenizers")  # to train elsewhere
BITSANDBYTES = "0.50.2"  # of a QLoRA bundle; it is not installed where there is no GPU


def package_versions() -> dict[str, str]:
    """Versions of Python and of what training depends on; packages that are not installed are left out."""
    found = {"Python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def pinned() -> str:
    """The packages that training needs as lines of a requirements file, in the versions installed here.

    What stands behind a + names a build for one kind of machine (2.13.0+cpu) and is left out.
    Raises PackageNotFoundError if one is missing here.
    """
    return "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in sorted(NEEDED))
