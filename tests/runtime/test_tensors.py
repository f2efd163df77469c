"""Files of parameters: .npz, .safetensors, and PyTorch's state_dict there and back."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from contract_module import write_module
from generated import execute, module_text
from sympy import Sum

from derivgen import Model, layers, runtime
from derivgen.activations import relu, tanh
from derivgen.errors import DerivgenError
from derivgen.runtime.tensors import from_state_dict, load_parameters, load_state_dict, save_parameters, save_state_dict

SUFFIXES = (".npz", ".safetensors")


@pytest.fixture
def module(tmp_path):
    return runtime.load(write_module(tmp_path))


@pytest.fixture
def bowl(tmp_path):
    return runtime.load(write_module(tmp_path, "bowl", "float64"))


# ---- models here and in PyTorch


def closed(model, y):
    """The model, which predicts y (N, features)."""
    n, j = model.local_indices(*y.shape)
    model.minimize(Sum(y[n, j] ** 2, n, j) / y.shape[0])
    model.predict(y)
    return model


def network():
    """A convolution, a normalization of each kind, and three dense layers, one of them square."""
    model = Model("network")
    x = model.input("x", model.batch("N"), 2, 4, 4)
    y = layers.conv2d(x, 3, 2, relu, name="conv", stride=2)
    y = layers.batch_norm(y, name="batch_norm")
    y = layers.dense(layers.flatten(y, name="flat"), 4, tanh, name="hidden_1")
    y = layers.layer_norm(y, name="norm")
    y = layers.dense(y, 4, tanh, name="square")
    return closed(model, layers.dense(y, 2, name="head"))


class Network(torch.nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(3)
        self.conv = torch.nn.Conv2d(2, 3, 2, stride=2)
        self.batch_norm = torch.nn.BatchNorm2d(3)
        self.hidden_1 = torch.nn.Linear(12, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.square = torch.nn.Linear(4, 4)
        self.head = torch.nn.Linear(4, 2)
        with torch.no_grad():
            for tensor in self.parameters():
                tensor.copy_(torch.randn(tensor.shape))
            self.batch_norm.running_mean += 0.5
            self.batch_norm.running_var *= 3
        self.to(dtype)

    def forward(self, x):
        y = self.batch_norm(torch.relu(self.conv(x)))
        y = self.norm(torch.tanh(self.hidden_1(y.flatten(1))))
        return self.head(torch.tanh(self.square(y)))


def dense_only(features=3, units=2, embedded=False):
    model = Model("dense_only")
    N = model.batch("N")
    if embedded:
        k = model.labels("k", N, classes=features)
        return closed(model, layers.embedding(k, units, name="h"))
    return closed(model, layers.dense(model.input("x", N, features), units, name="h"))


@functools.cache
def made(declare, dtype="float32", *arguments):
    return execute(module_text(declare(*arguments), dtype))


def batch(dtype):
    return np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(dtype)


def save_torch(path, model):
    safetensors.torch.save_file(model.state_dict(), path)
    return path


# ---- our own files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parameters_survive_a_file(tmp_path, module, bowl, suffix):
    for m in (module, bowl):  # the bowl has a tensor without axes
        path = tmp_path / f"parameters{suffix}"
        parameters = m.initial_parameters() + m.real(1.5)
        save_parameters(path, m, parameters)
        loaded = load_parameters(str(path), m)
        assert loaded.dtype == m.real and loaded.flags.writeable
        assert np.array_equal(loaded, parameters)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_survive_to_the_bit(tmp_path, module, suffix):
    bits = np.array([0x7FC01234, 0x80000000, 0x00000001, 0xFF800000], np.uint32)  # NaN with a payload, -0, denormal, -∞
    save_parameters(tmp_path / f"p{suffix}", module, bits.view(np.float32))
    assert np.array_equal(load_parameters(tmp_path / f"p{suffix}", module).view(np.uint32), bits)


def test_other_readers_find_the_tensors_by_name(tmp_path, bowl):
    parameters = np.arange(4.0)
    save_parameters(tmp_path / "p.npz", bowl, parameters)
    save_parameters(tmp_path / "p.safetensors", bowl, parameters)
    with np.load(tmp_path / "p.npz") as archive:
        assert archive.files == [p.name for p in bowl.PARAMETERS]
        found = [dict(archive), safetensors.numpy.load_file(tmp_path / "p.safetensors")]
    found.append({n: t.numpy() for n, t in safetensors.torch.load_file(tmp_path / "p.safetensors").items()})
    for arrays in found:
        assert set(arrays) == {"v", "c"}
        assert np.array_equal(arrays["v"], [0, 1, 2]) and arrays["c"].shape == () and arrays["c"] == 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_parameters_are_the_same_bytes(tmp_path, module, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        save_parameters(path, module, module.initial_parameters())
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failing_save_keeps_the_old_file(tmp_path, module, monkeypatch, suffix):
    path = tmp_path / f"p{suffix}"
    save_parameters(path, module, module.initial_parameters())
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DerivgenError, match="No space left"):
        save_parameters(path, module, module.initial_parameters(1))
    assert path.read_bytes() == old
    assert not list(tmp_path.glob(".derivgen*"))


@pytest.mark.parametrize("name", ["p.pt", "p.bin", "p", "p.npz.gz"])
def test_other_endings_are_refused_with_both_that_are_not(tmp_path, module, name):
    for call in (
        lambda p: save_parameters(p, module, module.initial_parameters()),
        lambda p: load_parameters(p, module),
    ):
        with pytest.raises(DerivgenError, match=r"must end in \.npz or \.safetensors"):
            call(tmp_path / name)
    assert not (tmp_path / name).exists()


W, B = np.zeros(2, np.float32), np.ones(2, np.float32)
WRITERS = {
    ".npz": lambda path, arrays: np.savez(path, **arrays),
    ".safetensors": lambda p, a: safetensors.numpy.save_file(a, p),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"W": W}, "lacks the parameter b: expected W, b, found W$"),
        ({"W": W, "b": B, "c": B}, "holds c, which is no parameter: expected W, b$"),
        ({"W": W, "b": np.zeros(3, np.float32)}, r"b must be float32 of shape \(2,\), found float32 of shape \(3,\)"),
        ({"W": W, "b": np.zeros(2)}, r"found float64 of shape \(2,\): numbers are not converted unasked"),
        ({"W": W, "b": np.zeros(2, np.float16)}, "found float16"),
        ({"W": W, "b": np.zeros(2, np.int32)}, "found int32"),
    ],
)
def test_parameters_of_another_model_are_refused(tmp_path, module, suffix, arrays, message):
    path = tmp_path / f"p{suffix}"
    WRITERS[suffix](path, arrays)
    with pytest.raises(DerivgenError, match=message):
        load_parameters(path, module)


def test_a_pickle_in_an_npz_is_never_read(tmp_path, module):
    np.savez(tmp_path / "p.npz", W=W, b=np.array([None, None]))
    with pytest.raises(DerivgenError, match=r"not an \.npz file of plain arrays"):
        load_parameters(tmp_path / "p.npz", module)


def test_files_that_are_no_npz_are_refused(tmp_path, module):
    save_parameters(tmp_path / "whole.npz", module, module.initial_parameters())
    np.save(tmp_path / "array.npy", W)
    for name, content, message in (
        ("cut", (tmp_path / "whole.npz").read_bytes()[:300], r"not an \.npz file of plain arrays"),
        ("text", b"hello", r"not an \.npz file of plain arrays"),
        ("empty", b"", r"not an \.npz file of plain arrays \(it is empty\)"),
        ("array", (tmp_path / "array.npy").read_bytes(), r"a single array, expected an \.npz of named ones"),
        ("none", None, 'does not exist: write it by np.savez\\("none.npz"'),
    ):
        if content is not None:
            (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(DerivgenError, match=rf"{name}\.npz.* {message}"):
            load_parameters(tmp_path / f"{name}.npz", module)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DerivgenError, match=r"folder\.npz can't be read: Is a directory"):
        load_parameters(tmp_path / "folder.npz", module)


def test_files_that_are_no_safetensors_are_refused(tmp_path, module):
    save_parameters(tmp_path / "whole.safetensors", module, module.initial_parameters())
    whole = (tmp_path / "whole.safetensors").read_bytes()
    np.savez(tmp_path / "zip.npz", W=W, b=B)
    torch.save({"W": torch.zeros(2)}, tmp_path / "torch.pt")
    contents = {
        "empty": b"",
        "text": b"hello, this is a text",
        "cut": whole[:-1],
        "header": whole[:20],
        "longer": whole + b"\0",
        "zip": (tmp_path / "zip.npz").read_bytes(),
        "torch": (tmp_path / "torch.pt").read_bytes(),
        "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.",
    }
    for name, data in contents.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        for load in (load_parameters, load_state_dict):
            with pytest.raises(DerivgenError, match=rf"{name}\.safetensors is no whole safetensors file"):
                load(path, module)
    for path, reason in (
        (tmp_path / "none.safetensors", "No such file"),
        (tmp_path / "d.safetensors", "Is a directory"),
    ):
        if reason == "Is a directory":
            path.mkdir()
        with pytest.raises(DerivgenError, match=f"can't be read: {reason}"):
            load_parameters(path, module)


# ---- PyTorch's state_dict


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_of_pytorch_predicts_the_same_here(tmp_path, dtype):
    reference = Network(getattr(torch, dtype)).eval()
    path = save_torch(tmp_path / "n.safetensors", reference)
    module = made(network, dtype)
    parameters = load_state_dict(path, module, layout={"square_W": "transposed"})
    views = module.views(parameters)
    assert np.array_equal(views["hidden_1_W"], reference.hidden_1.weight.detach().numpy().T)
    assert np.array_equal(views["conv_W"], reference.conv.weight.detach().numpy())
    assert np.array_equal(views["batch_norm_running_variance"], reference.batch_norm.running_var.numpy())
    expected = reference(torch.as_tensor(batch(dtype))).detach().numpy()
    error = np.abs(module.predict(parameters, x=batch(dtype)) - expected).max()
    assert error <= {"float32": 1e-6, "float64": 1e-14}[dtype]
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("layout", ["transposed", dict.fromkeys(("hidden_1_W", "square_W", "head_W"), "transposed")])
def test_a_network_from_here_predicts_the_same_in_pytorch(tmp_path, layout):
    module, reference = made(network, "float64"), Network(torch.float64).eval()
    parameters = np.random.default_rng(1).uniform(0.2, 1, module.initial_parameters().size)
    save_state_dict(tmp_path / "n.safetensors", module, parameters, layout=layout)
    missing = reference.load_state_dict(safetensors.torch.load_file(tmp_path / "n.safetensors"), strict=True)
    assert not missing.missing_keys and not missing.unexpected_keys
    x = batch("float64")
    assert np.abs(module.predict(parameters, x=x) - reference(torch.as_tensor(x)).detach().numpy()).max() <= 1e-14
    back = load_state_dict(tmp_path / "n.safetensors", module, layout=layout)
    assert np.array_equal(back, parameters)


def test_keys_are_the_callers_where_he_says_so(tmp_path):
    reference = torch.nn.Sequential(torch.nn.Linear(3, 2))
    path = save_torch(tmp_path / "s.safetensors", reference)
    module, names = made(dense_only), {"h_W": "0.weight", "h_b": "0.bias"}
    views = module.views(load_state_dict(path, module, names))
    assert np.array_equal(views["h_W"].T, reference[0].weight.detach().numpy())
    assert np.array_equal(views["h_b"], reference[0].bias.detach().numpy())
    save_state_dict(tmp_path / "back.safetensors", module, np.arange(8, dtype=np.float32), names, "transposed")
    reference.load_state_dict(safetensors.torch.load_file(tmp_path / "back.safetensors"))
    assert reference[0].weight.tolist() == [[0, 2, 4], [1, 3, 5]] and reference[0].bias.tolist() == [6, 7]


def test_a_parameters_own_name_comes_before_pytorchs(tmp_path):
    module = made(dense_only)
    save_parameters(tmp_path / "own.safetensors", module, np.arange(8, dtype=np.float32))
    assert np.array_equal(load_state_dict(tmp_path / "own.safetensors", module), np.arange(8))
    both = safetensors.numpy.load_file(tmp_path / "own.safetensors")
    safetensors.numpy.save_file({**both, "h.weight": both["h_W"]}, tmp_path / "both.safetensors")
    with pytest.raises(DerivgenError, match=r"holds h\.weight, which is no parameter"):
        load_state_dict(tmp_path / "both.safetensors", module)


def test_a_state_dict_is_taken_directly(tmp_path):
    """As from its file, to the bit; of tensors that need a gradient, of a view, and of plain arrays."""
    reference = Network(torch.float64).train()
    module, layout = made(network, "float64"), {"square_W": "transposed"}
    path = save_torch(tmp_path / "n.safetensors", reference)
    wanted = load_state_dict(path, module, layout=layout).tobytes()
    tensors = reference.state_dict()
    assert from_state_dict(module, tensors, layout=layout).tobytes() == wanted
    assert from_state_dict(module, reference.state_dict(keep_vars=True), layout=layout).tobytes() == wanted
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    assert from_state_dict(module, arrays, layout=layout).tobytes() == wanted
    views = {name: view.copy() for name, view in module.views(np.frombuffer(wanted).copy()).items()}
    assert from_state_dict(module, views, layout="same").tobytes() == wanted


def test_a_state_dict_that_does_not_fit_is_refused():
    module, tensors = made(dense_only), torch.nn.ModuleDict({"h": torch.nn.Linear(3, 2)}).state_dict()
    for changed, message in (
        ({"h.weight": tensors["h.weight"]}, r"the state_dict lacks the parameter h_b: expected it as h\.bias, found"),
        (
            {**tensors, "g": torch.ones(1)},
            r"the state_dict holds g, which is no parameter: expected h\.weight, h\.bias",
        ),
        (
            {**tensors, "h.weight": torch.ones(4, 4)},
            r"the state_dict: parameter h_W \(there h\.weight\) must be float32 of shape \(3, 2\) or \(2, 3\), found",
        ),
        ({**tensors, "h.bias": torch.ones(2, dtype=torch.float64)}, "found float64 .*not converted unasked"),
        (
            {**tensors, "h.bias": torch.ones(2, dtype=torch.bfloat16)},
            r"the state_dict: h\.bias can't be made an array .*BFloat16.*: save float32 or float64",
        ),
    ):
        with pytest.raises(DerivgenError, match=message):
            from_state_dict(module, changed)
    with pytest.raises(TypeError, match=r"state_dict must be a mapping .* found Linear: give model\.state_dict\(\)"):
        from_state_dict(module, torch.nn.Linear(3, 2))


# ---- layouts that no shape tells


@pytest.mark.parametrize(("embedded", "layout"), [(False, "transposed"), (True, "same")])
def test_a_square_matrix_is_refused_until_its_layout_is_said(tmp_path, embedded, layout):
    module = made(dense_only, "float32", 3, 3, embedded)
    reference = torch.nn.ModuleDict({"h": torch.nn.Embedding(3, 3) if embedded else torch.nn.Linear(3, 3)})
    path = save_torch(tmp_path / "s.safetensors", reference)
    message = r'h_W is square.*"transposed" for torch\.nn\.Linear, "same" for .*layout=\{"h_W": "transposed"\}'
    for unsaid in (None, {}):
        with pytest.raises(DerivgenError, match=message):
            load_state_dict(path, module, layout=unsaid)
    for said in (layout, {"h_W": layout}):
        inputs = {"k": np.array([2, 0])} if embedded else {"x": np.eye(3, dtype=np.float32)}
        expected = reference["h"](torch.as_tensor(next(iter(inputs.values())))).detach().numpy()
        assert np.allclose(module.predict(load_state_dict(path, module, layout=said), **inputs), expected, atol=1e-6)


def test_saving_needs_the_layout_of_each_matrix(tmp_path):
    module, parameters = made(network), made(network).initial_parameters()
    path = tmp_path / "n.safetensors"
    with pytest.raises(DerivgenError, match=r'hidden_1_W is a matrix.*"hidden_1_W": .*"square_W": .*"head_W": '):
        save_state_dict(path, module, parameters)
    with pytest.raises(DerivgenError, match="head_W is a matrix"):
        save_state_dict(path, module, parameters, layout={"hidden_1_W": "same", "square_W": "same"})
    assert not path.exists()


def test_what_was_said_of_a_layout_holds_against_the_shape(tmp_path):
    path = save_torch(tmp_path / "s.safetensors", torch.nn.ModuleDict({"h": torch.nn.Linear(3, 2)}))
    with pytest.raises(DerivgenError, match=r"h_W \(there h\.weight\) must be float32 of shape \(3, 2\), found"):
        load_state_dict(path, made(dense_only), layout="same")
    save_parameters(tmp_path / "own.safetensors", made(dense_only), np.zeros(8, np.float32))
    with pytest.raises(DerivgenError, match=r"must be float32 of shape \(2, 3\), found float32 of shape \(3, 2\)"):
        load_state_dict(tmp_path / "own.safetensors", made(dense_only), layout={"h_W": "transposed"})


@pytest.mark.parametrize(("features", "units"), [(1, 1), (1, 4), (4, 1)])
def test_rows_and_columns_are_told_by_their_shape(tmp_path, features, units):
    reference = torch.nn.ModuleDict({"h": torch.nn.Linear(features, units)})
    module = made(dense_only, "float32", features, units)
    parameters = load_state_dict(save_torch(tmp_path / "s.safetensors", reference), module)
    assert np.array_equal(module.views(parameters)["h_W"], reference["h"].weight.detach().numpy().T)


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": {"g_W": "0.weight"}}, "names speaks of g_W, which is no parameter: expected h_W, h_b"),
        ({"names": {"h_W": "h.bias"}}, r"h_W and h_b would both be h\.bias"),
        ({"layout": {"h_b": "same"}}, "layout speaks of h_b, which is no matrix among the parameters: expected h_W"),
        ({"layout": {"h_W": "rowwise"}}, 'must be "same" or "transposed", found \'rowwise\''),
        ({"layout": "Transposed"}, "found 'Transposed'"),
    ],
)
def test_names_and_layouts_of_nothing_are_refused(tmp_path, arguments, message):
    path = save_torch(tmp_path / "s.safetensors", torch.nn.ModuleDict({"h": torch.nn.Linear(3, 2)}))
    with pytest.raises(DerivgenError, match=message):
        load_state_dict(path, made(dense_only), **arguments)
    with pytest.raises(DerivgenError, match=message):
        save_state_dict(path, made(dense_only), np.zeros(8, np.float32), **arguments)


@pytest.mark.parametrize(
    ("here", "there", "message"),
    [
        ("float32", torch.float64, r"must be float32 of shape .*, found float64 .*model\.to\(torch\.float32\)"),
        ("float64", torch.float32, r"must be float64 of shape .*, found float32 .*model\.to\(torch\.float64\)"),
        ("float32", torch.float16, r"found float16 .*model\.to\(torch\.float32\)"),
        ("float32", torch.bfloat16, r"of dtype BF16, which NumPy lacks.*model\.to\(torch\.float32\)"),
    ],
)
def test_numbers_are_never_converted_unasked(tmp_path, here, there, message):
    path = save_torch(tmp_path / "s.safetensors", torch.nn.ModuleDict({"h": torch.nn.Linear(3, 2)}).to(there))
    with pytest.raises(DerivgenError, match=message):
        load_state_dict(path, made(dense_only, here))


def test_a_key_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    path = save_torch(tmp_path / "s.safetensors", torch.nn.ModuleDict({"h": torch.nn.Linear(3, 2)}))
    message = r"lacks the parameter h_W: expected it as 0\.weight, found h\.bias, h\.weight; say its key by names="
    with pytest.raises(DerivgenError, match=message):
        load_state_dict(path, made(dense_only), {"h_W": "0.weight"})


def test_a_state_dict_of_another_network_is_refused(tmp_path):
    path = save_torch(tmp_path / "n.safetensors", Network())
    with pytest.raises(
        DerivgenError, match=r"lacks the parameter h_W: expected it as h\.weight, found .* and 6 more; say"
    ):
        load_state_dict(path, made(dense_only))
    larger = save_torch(tmp_path / "l.safetensors", torch.nn.ModuleDict({"h": torch.nn.Linear(3, 5)}))
    with pytest.raises(
        DerivgenError, match=r"float32 of shape \(3, 2\) or \(2, 3\), found float32 of shape \(5, 3\): it was"
    ):
        load_state_dict(larger, made(dense_only))


def test_pytorchs_pickles_are_refused_by_their_name(tmp_path):
    torch.save({}, tmp_path / "model.pt")
    message = r"never read; write safetensors\.torch\.save_file\(model\.state_dict\(\), \"model\.safetensors\"\)"
    with pytest.raises(DerivgenError, match=message):
        load_state_dict(tmp_path / "model.pt", made(dense_only))
    with pytest.raises(DerivgenError, match=r"must end in \.safetensors"):
        save_state_dict(tmp_path / "model.npz", made(dense_only), np.zeros(8, np.float32), layout="same")


def test_two_parameters_of_one_pytorch_name_are_refused(tmp_path):
    model = Model("twice")
    y = layers.dense(model.input("x", model.batch("N"), 3), 2, name="h")
    n, j = model.local_indices(*y.shape)
    closed(model, model.let("y", (n, j), y[n, j] * model.parameter("h_gain", 2)[j]))
    module = execute(module_text(model, "float32"))
    with pytest.raises(DerivgenError, match=r"h_W and h_gain would both be h\.weight: say other keys by names"):
        save_state_dict(tmp_path / "p.safetensors", module, module.initial_parameters(), layout="same")


def test_a_state_dicts_file_says_that_it_is_pytorchs(tmp_path):
    path = tmp_path / "p.safetensors"
    save_state_dict(path, made(dense_only), np.zeros(8, np.float32), layout="transposed")
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0 and json.loads(data[8 : 8 + length])["__metadata__"]["format"] == "pt"
