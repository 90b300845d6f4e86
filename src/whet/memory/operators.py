"""The operations that models are made of, as autograd and autocast treat them: what each makes, saves and needs.

    Operators(tape, how) . linear, cast, add, times, rms_norm, layer_norm, rotate, attention, ...

Widths are bytes per number. `how.compute` is that of matrix products; weights that are trained are held in fp32 and
copied by autocast; frozen ones are held as they are computed with, or quantized and dequantized for each product.
Adapters stand beside their layer as peft puts them: in fp32, with the layer's input copied to fp32 for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whet.memory.tape import Shadow, Tape
from whet.models.attention_blocks import LONGEST, blocks
from whet.models.outline import Linear

Base = Literal["fp32", "compute", "nf4", "fp4", "int8"]
"""How the matrices of the blocks are held: to be trained in fp32, or frozen."""
FP32 = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a forward pass computes. `rows` x `length` positions; `targets` are names within a block."""

    rows: int
    length: int
    compute: int
    base: Base
    on_cuda: bool = False
    rank: int = 0
    targets: frozenset[str] = frozenset()
    adapter_dropout: bool = False
    dropout: bool = False
    """Of a model trained from nothing."""
    checkpointing: bool = False
    all_learned: bool = False
    """Every position has a label; else the labelled ones are copied out first."""

    @property
    def positions(self) -> int:
        """Of the whole micro-batch."""
        return self.rows * self.length

    @property
    def trained(self) -> bool:
        """Whether the model's own weights are trained."""
        return self.base == "fp32"

    @property
    def stream(self) -> int:
        """Bytes per number of the residual stream: that of the embedding."""
        return FP32 if self.trained else self.compute

    @property
    def autocast(self) -> bool:
        """Whether products are computed in fewer bytes than fp32."""
        return self.compute < FP32

    @property
    def in_4_bit(self) -> bool:
        """Whether the base is nf4 or fp4."""
        return self.base in ("nf4", "fp4")


class Operators:
    """Operations on shadows, on one tape."""

    def __init__(self, tape: Tape, how: How) -> None:
        self.tape, self.how = tape, how
        self.block = ""
        """Of the block at hand: names its weights."""

    def cast(self, x: Shadow, width: int) -> Shadow:
        """`x.to(dtype)`: itself where it is that wide already."""
        if x.width == width:
            return x
        size, before, tape = x.size, x.width, self.tape
        return tape.made(size, width, (x,), back=lambda grads: [tape.new(size, before)])

    def computed(self, x: Shadow) -> Shadow:
        """What autocast gives a matrix product."""
        return self.cast(x, self.how.compute) if self.how.autocast else x

    def copy(self, x: Shadow) -> Shadow:
        """`clone()`; the gradient passes through."""
        return self.tape.made(x.size, x.width, (x,), back=lambda grads: grads)

    def add(self, a: Shadow, b: Shadow) -> Shadow:
        """Elementwise, of one size; saves nothing. Both get the same gradient, as wide as they are."""
        width, tape = max(a.width, b.width), self.tape
        sizes = [(x.size, x.width) for x in (a, b)]

        def back(grads: list[Shadow]) -> list[Shadow | None]:
            (grad,) = grads
            return [grad if grad.width == wide else tape.new(size, wide) for size, wide in sizes]

        return tape.made(a.size, width, (a, b), back=back)

    def times(self, a: Shadow, b: Shadow) -> Shadow:
        """Elementwise, `b` as large as `a` or broadcast; each is saved for the other's gradient."""
        width = max(a.width, b.width)
        reduced = a.size * width if b.needs_grad and b.size < a.size else 0
        return self.tape.made(
            a.size,
            width,
            (a, b),
            (a if b.needs_grad else None, b if a.needs_grad else None),
            back_scratch=reduced,
        )

    def mapped(self, x: Shadow, *, saves_input: bool = False, saves_result: bool = False) -> Shadow:
        """A function of each number."""
        return self.tape.made(x.size, x.width, (x,), (x if saves_input else None,), saves_result=saves_result)

    def power(self, x: Shadow) -> Shadow:
        """`x ** n`; the backward makes n * x ** (n - 1) in two steps."""
        return self.tape.made(x.size, x.width, (x,), (x,), back_scratch=2 * x.size * x.width)

    def part(self, x: Shadow, size: int) -> Shadow:
        """A slice: the same storage; its gradient is as large as the whole."""
        result = Shadow(size, x.width, x.storage)
        if self.tape.recording and x.node is not None:
            whole, width, tape = x.size, x.width, self.tape
            result.node = tape.node((x.node,), [], lambda grads: [tape.new(whole, width)])
        return result

    def split(self, x: Shadow, sizes: Sequence[int]) -> list[Shadow]:
        """Parts of one storage whose gradients are put together again."""
        node = None
        if self.tape.recording and x.node is not None:
            whole, width, tape = x.size, x.width, self.tape
            node = tape.node((x.node,), [], lambda grads: [tape.new(whole, width)], collects=True)
        return [Shadow(size, x.width, x.storage, node) for size in sizes]

    def joined(self, parts: Sequence[Shadow]) -> Shadow:
        """`cat`; gradients are slices of the result's."""
        sizes = [part.size for part in parts]
        whole, width = sum(sizes), parts[0].width

        def back(grads: list[Shadow]) -> list[Shadow | None]:
            return [Shadow(size, width, grads[0].storage) for size in sizes]

        return self.tape.made(whole, width, parts, back=back)

    def dropout(self, x: Shadow) -> Shadow:
        """With a probability above 0: a mask is saved, of the numbers' width on a CPU, of bytes on CUDA."""
        if self.how.on_cuda:
            mask = self.tape.new(x.size, 1)
            return self.tape.made(x.size, x.width, (x,), (mask,))
        mask = self.tape.new(x.size, x.width)
        return self.tape.made(x.size, x.width, (x,), (mask,))

    def weight(self, name: str, size: int, *, trained: bool) -> Shadow:
        """A matrix as a product takes it: where it is trained, under autocast, a copy that is made once a pass."""
        if not trained:
            return self.tape.weight(name, size, self.how.compute, trained=False)
        held = self.tape.weight(name, size, FP32, trained=True)
        if not self.how.autocast:
            return held
        if name not in self.tape.cached:
            tape, compute = self.tape, self.how.compute
            self.tape.cached[name] = tape.made(
                size, compute, (held,), back=lambda grads: [tape.new(size, FP32)], kind="casts"
            )
        return self.tape.cached[name]

    def product(
        self, x: Shadow, weight: Shadow, inputs: int, outputs: int, *, kind: str = "activations"
    ) -> Shadow:
        """x (..., inputs) times a matrix."""
        given = self.computed(x)
        return self.tape.made(
            given.size // inputs * outputs,
            self.how.compute,
            (given, weight),
            (given if weight.needs_grad else None, weight if given.needs_grad else None),
            kind=kind,
        )

    def linear(self, x: Shadow, layer: Linear) -> Shadow:
        """A linear layer of the block at hand, with its adapter if it is a target."""
        result = self._base(x, layer)
        if layer.name in self.how.targets:
            return self._adapted(x, result, layer)
        return result

    def _base(self, x: Shadow, layer: Linear) -> Shadow:
        size, name = layer.inputs * layer.outputs, self.block + layer.name
        if self.how.base in ("fp32", "compute"):
            weight = self.weight(name, size, trained=self.how.trained)
            return self.product(x, weight, layer.inputs, layer.outputs)
        given = self.cast(x, self.how.compute)
        return self.tape.made(
            given.size // layer.inputs * layer.outputs,
            self.how.compute,
            (given,),
            scratch=(size * self.how.compute, "dequantized"),
        )

    def _adapted(self, x: Shadow, result: Shadow, layer: Linear) -> Shadow:
        """result + B(A(dropout(x))) * scale, as peft's layers write it."""
        how, rank, name = self.how, self.how.rank, self.block + layer.name
        if how.in_4_bit:
            result = self.copy(result)
        if not (how.on_cuda and how.base != "compute"):  # peft asks for CUDA's autocast only
            x = self.cast(x, FP32)
        down = self.weight(name + ".A", rank * layer.inputs, trained=True)
        up = self.weight(name + ".B", rank * layer.outputs, trained=True)
        return self.add(
            result,
            self.mapped(
                self.product(
                    self.product(self.dropout(x) if how.adapter_dropout else x, down, layer.inputs, rank),
                    up,
                    rank,
                    layer.outputs,
                )
            ),
        )

    def rms_norm(self, x: Shadow, width: int, name: str) -> Shadow:
        """As transformers writes it: in fp32, then times the weight `name`. `width` numbers are normed together."""
        h, tape = self.cast(x, FP32), self.tape
        squares = self.power(h)
        root = tape.made(h.size // width, FP32, (squares,), saves_result=True)
        del squares
        h = self.times(h, root)
        weight = tape.weight(self.block + name, width, self.how.stream, trained=self.how.trained)
        return self.times(self.cast(h, x.width), weight)

    def layer_norm(self, x: Shadow) -> Shadow:
        """One kernel. CUDA's autocast computes it in fp32."""
        if self.how.on_cuda and self.how.autocast:
            x = self.cast(x, FP32)
        return self.mapped(x, saves_input=True)

    def rotated(self, x: Shadow, rotation: Shadow) -> Shadow:
        """x * cos + rotate_half(x) * sin; `rotation` is as wide as the residual stream."""
        return self.add(self._turned(x, rotation), self._turned(self._half_rotated(x), rotation))

    def _turned(self, x: Shadow, rotation: Shadow) -> Shadow:
        return self.tape.made(x.size, max(x.width, rotation.width), (x,), (rotation,))

    def _half_rotated(self, x: Shadow) -> Shadow:
        low, high = self.part(x, x.size // 2), self.part(x, x.size - x.size // 2)
        return self.joined([self.mapped(high), low])

    def repeated(self, x: Shadow, size: int) -> Shadow:
        """Key-value heads copied for the heads that share them."""
        return x if x.size == size else self.tape.made(size, x.width, (x,))

    def attention(
        self, query: Shadow, key: Shadow, value: Shadow, heads: int, *, contiguous: bool = False
    ) -> Shadow:
        """softmax(q k) v for packed rows. `contiguous`: queries and keys come as (B, H, L, W) already."""
        explicit = not self.how.on_cuda and (self.how.length <= LONGEST or self.how.dropout)
        if explicit:
            return self._explicit(query, key, value, heads, contiguous)
        return self._fused(query, key, value, heads)

    def _explicit(self, query: Shadow, key: Shadow, value: Shadow, heads: int, contiguous: bool) -> Shadow:
        """`whet.models.attention._explicit`, line by line; of longer rows with dropout torch's, which cuts none."""
        copied = key.size != query.size
        keys, values = self.repeated(key, query.size), self.repeated(value, query.size)
        q = self._as_batch(self.cast(query, value.width), contiguous)
        k = self._as_batch(self.cast(keys, value.width), contiguous or copied)
        v = self._as_batch(values, copied)
        length = self.how.length
        cuts = blocks(length) if length <= LONGEST else [(0, length)]
        return self.copy(self.joined([self._seen(q, k, v, heads, end - start, end) for start, end in cuts]))

    def _seen(self, q: Shadow, k: Shadow, v: Shadow, heads: int, queries: int, keys: int) -> Shadow:
        """`whet.models.attention._seen`, line by line."""
        how, tape, dtype = self.how, self.tape, v.width
        pairs = how.rows * queries * keys
        hidden = tape.new(pairs, dtype)
        bias = tape.new(heads * pairs, dtype) if heads > 1 else hidden
        scores = tape.made(heads * pairs, dtype, (q, k), (q, k), back_scratch=q.size * dtype)
        weights = self.mapped(scores, saves_result=True)
        if how.dropout:
            weights = self.dropout(weights)
        seen = tape.made(q.size * queries // how.length, dtype, (weights, v), (weights, v))
        del hidden, bias
        return seen

    def _as_batch(self, x: Shadow, contiguous: bool) -> Shadow:
        """`reshape(B * H, L, W)`, which copies what lies as (B, L, H, W)."""
        return x if contiguous or self.how.rows == 1 else self.copy(x)

    def _fused(self, query: Shadow, key: Shadow, value: Shadow, heads: int) -> Shadow:
        """`scaled_dot_product_attention` with a mask: it saves queries, keys, values, result, and the mask as numbers."""
        how, tape, dtype = self.how, self.tape, self.how.compute
        keys, values = self.repeated(key, query.size), self.repeated(value, query.size)
        q, k, v = (self.computed(x) for x in (query, keys, values))
        mask = tape.new(how.rows * how.length * how.length, dtype)
        sums = tape.new(how.positions * heads, FP32)
        return tape.made(
            values.size,
            dtype,
            (q, k, v),
            (q, k, v, mask, sums),
            saves_result=True,
            back_scratch=query.size * FP32 if how.on_cuda else 0,
        )
