"""One micro-batch of a model, forward and backward, on a tape: what the training holds and when.

The blocks follow transformers' code, told from the names and sizes of the linear layers in the outline, so that a
family needs nothing of its own here. Of many equal blocks three are sketched (the first, one like those in between,
the last); the others are counted by what one of them leaves behind, which is exact, since the peak is at one end.

Left out: LayerNorm's weights and all biases (the caller counts their gradients), LayerNorm's statistics, and what
kernels allocate for themselves.
"""

from __future__ import annotations

from collections.abc import Callable

from whet.memory.operators import FP32, How, Operators
from whet.memory.tape import KINDS, Shadow, Storage, Tape
from whet.models.chunk import chunk_positions
from whet.models.outline import Block, Linear, Outline

INDEX = 8
"""Bytes of a token id."""
EMBEDDING, HEAD = "embedding", "head"


def micro_batches(
    outline: Outline, how: How, *, passes: int = 1, shards: int = 1, kept: bool = False
) -> Tape:
    """The tape after `passes` micro-batches of one step; its peaks are those of the phases.

    `shards`: cards that share the gradients. `kept`: gradients have their place from the beginning (DDP's buckets).
    """
    tape = Tape()
    tape.shards = shards
    if kept:
        micro_batch(outline, how, tape)
        tape.forget_peaks()
    for _ in range(passes):
        micro_batch(outline, how, tape)
    return tape


def micro_batch(outline: Outline, how: How, tape: Tape) -> None:
    """Forward, loss and backward of one micro-batch; its gradients stay on the tape."""
    sketch = Sketch(outline, how, tape)
    tape.begin("forward")
    hidden = sketch.hidden()
    tape.begin("loss")
    loss = sketch.loss(hidden)
    del hidden
    tape.cached.clear()
    tape.begin("backward")
    assert loss.node is not None, "something is trained"
    tape.backward(loss.node, tape.new(1, FP32))
    tape.begin("update")
    tape.begin("end")


class Sketch:
    """The model on its tape."""

    def __init__(self, outline: Outline, how: How, tape: Tape) -> None:
        self.outline, self.how, self.tape = outline, how, tape
        self.ops = Operators(tape, how)
        self.mask: Storage | None = None
        self.rotation: Shadow | None = None
        self.looked_up: list[Shadow] = []
        """Embeddings, which the body's forward keeps in variables to its end."""

    def hidden(self) -> Shadow:
        """The last hidden states, normed: (B, L, D)."""
        how, tape, outline = self.how, self.tape, self.outline
        ids = tape.new(4 * how.positions, INDEX)  # inputs, positions, segments, labels
        self.mask = self._mask()
        x = self._embedded()
        if not outline.position_rows:
            self.rotation = tape.new(2 * how.positions * outline.head_width, how.stream)
        number = 0
        for count, block in outline.blocks:
            x = self._blocks(x, count, block, number)
            number += count
        del ids
        self.looked_up = []
        if not how.checkpointing:  # else every block holds them, to be computed again
            self.mask = self.rotation = None
        self.ops.block = "last."
        return self._norm(x, "norm", rms=outline.norm == outline.d_model)

    def _mask(self) -> Storage:
        """(B, L, L) of bytes; the parts it is made of are held at the same time."""
        how = self.how
        same = Storage(self.tape, how.rows * how.length * how.length, "activations")
        causal = Storage(self.tape, 2 * how.length * how.length, "activations")
        mask = Storage(self.tape, same.bytes, "activations")
        del same, causal
        return mask

    def _embedded(self) -> Shadow:
        how, outline = self.how, self.outline
        size = how.positions * outline.d_model

        def looked_up(name: str, rows: int) -> Shadow:
            table = self.tape.weight(name, rows * outline.d_model, how.stream, trained=how.trained)
            return self.tape.made(size, how.stream, (table,))

        x = looked_up(EMBEDDING, outline.vocab_size)
        self.looked_up = [x]
        if outline.position_rows:
            self.looked_up.append(looked_up("positions", outline.position_rows))
            x = self.ops.add(*self.looked_up)
        return self.ops.dropout(x) if how.dropout and self._drops_everywhere else x

    @property
    def _drops_everywhere(self) -> bool:
        """Whether dropout is also on embeddings and on what blocks add (families with LayerNorm)."""
        return self.outline.norm != self.outline.d_model

    def _blocks(self, x: Shadow, count: int, block: Block, number: int) -> Shadow:
        """A run of equal blocks."""
        x = self._one(x, block, number)
        if count > 1:
            before = dict(self.tape.held)
            x = self._one(x, block, number + 1)
            left = {kind: self.tape.held[kind] - before[kind] for kind in KINDS}
        if count > 3:
            x = self._passed_over(x, count - 3, left, block, number + 2)
        if count > 2:
            x = self._one(x, block, number + count - 1)
        return x

    def _passed_over(self, x: Shadow, count: int, left: dict[str, int], block: Block, number: int) -> Shadow:
        """So many blocks of which each leaves behind what is in `left`, and gradients in the backward pass."""
        tape, name = self.tape, f"{number}+{count}."
        saved: list[Storage | None] = [Storage(tape, count * left["activations"], "activations")]
        if left["casts"]:
            copies = Storage(tape, count * left["casts"], "casts")
            tape.cached[name] = Shadow(1, 1, copies)
            saved += [] if self.how.checkpointing else [copies]
            del copies
        gradients = count * self._trained(block) * FP32 // tape.shards

        def back(grads: list[Shadow]) -> list[Shadow | None]:
            if name not in tape.gradients:
                tape.gradients[name] = Storage(tape, gradients, "gradients")
            return list(grads)

        return Shadow(x.size, x.width, x.storage, tape.node((x.node,), saved, back))

    def _trained(self, block: Block) -> int:
        """Numbers of a block that get a gradient on the tape."""
        if self.how.trained:
            norms = block.norms if block.norms < 4 * self.outline.d_model else 0
            return norms + sum(linear.copies * linear.inputs * linear.outputs for linear in block.linears)
        return sum(
            self.how.rank * (linear.inputs + linear.outputs)
            for linear in block.linears
            if linear.module and linear.name in self.how.targets
        )

    def _one(self, x: Shadow, block: Block, number: int) -> Shadow:
        """One block; with checkpointing nothing but its input is saved, and it is computed again in the backward."""
        name = f"{number}."
        if not self.how.checkpointing:
            self.ops.block = name
            return self._block(x, block)
        with self.tape.unrecorded():
            self.ops.block = name
            result = self._block(x, block)
        if x.needs_grad or self._trained(block):
            result.node = self.tape.node((x.node,), [], self._again(x, block, name))
        return result

    def _again(self, x: Shadow, block: Block, name: str) -> Callable[[list[Shadow]], list[Shadow | None]]:
        kept, size, width, needed, tape = [x.storage], x.size, x.width, x.needs_grad, self.tape

        def back(grads: list[Shadow]) -> list[Shadow | None]:
            before = self._before_the_first_saved(size, block)
            given = tape.weight("input", size, width, trained=needed)
            given.storage = kept.pop()
            self.ops.block = name
            result = self._block(given, block)
            tape.cached.clear()
            root = result.node
            assert root is not None
            del result, before
            return [tape.backward(root, grads[0], stop=given.node)]

        return back

    def _before_the_first_saved(self, size: int, block: Block) -> Storage:
        """Gradients that are made before the backward asks for something saved, and with it for the block's forward."""
        last = block.linears[-1]
        made = (self.how.stream != self.how.compute) + (last.name in self.how.targets)
        return Storage(self.tape, made * size * self.how.compute, "activations")

    def _block(self, x: Shadow, block: Block) -> Shadow:
        ops, rms = self.ops, block.norms < 4 * self.outline.d_model
        mixed = self._attention(self._norm(x, "before attention", rms=rms), block)
        if self.how.dropout and self._drops_everywhere:
            mixed = ops.dropout(mixed)
        middle = ops.add(x, mixed)
        if self.outline.family != "gpt2":  # whose code keeps it in a variable
            del mixed
        fed = self._feed_forward(self._norm(middle, "before mlp", rms=rms), block)
        if self.how.dropout and self._drops_everywhere:
            fed = ops.dropout(fed)
        return ops.add(middle, fed)

    def _norm(self, x: Shadow, name: str, *, rms: bool) -> Shadow:
        return self.ops.rms_norm(x, self.outline.d_model, name) if rms else self.ops.layer_norm(x)

    def _attention(self, x: Shadow, block: Block) -> Shadow:
        layers = _by_last_name(block, "attention")
        if "kv_b_proj" in layers:
            return self._latent(x, layers)
        if "k_proj" in layers:
            return self._separate(x, layers, block)
        return self._fused(x, *layers.items())

    def _separate(self, x: Shadow, layers: dict[str, Linear], block: Block) -> Shadow:
        """Three matrices, perhaps with norms on queries and keys."""
        ops, width = self.ops, self.outline.head_width
        normed = block.norms == 2 * self.outline.d_model + 2 * width
        query = ops.linear(x, layers["q_proj"])
        query = ops.rms_norm(query, width, "of queries") if normed else query
        key = ops.linear(x, layers["k_proj"])
        key = ops.rms_norm(key, width, "of keys") if normed else key
        value = ops.linear(x, layers["v_proj"])
        assert self.rotation is not None
        query, key = ops.rotated(query, self.rotation), ops.rotated(key, self.rotation)
        mixed = ops.attention(query, key, value, self.outline.heads)
        return ops.linear(mixed, layers["o_proj"])

    def _fused(self, x: Shadow, first: tuple[str, Linear], last: tuple[str, Linear]) -> Shadow:
        """One matrix for queries, keys and values; where positions are rotated, the results are put together anew."""
        ops, outline = self.ops, self.outline
        together = ops.linear(x, first[1])
        sizes = [self.how.positions * heads * outline.head_width for heads in self._head_counts]
        if first[0] == "qkv_proj":
            query, key, value = (ops.part(together, size) for size in sizes)
        else:
            query, key, value = ops.split(together, sizes)
        if self.rotation is not None:
            query, key = (ops.joined([ops.rotated(part, self.rotation)]) for part in (query, key))
        mixed = ops.attention(query, key, value, outline.heads, contiguous=self.rotation is not None)
        return ops.linear(mixed, last[1])

    @property
    def _head_counts(self) -> tuple[int, int, int]:
        return self.outline.heads, self.outline.kv_heads, self.outline.kv_heads

    def _latent(self, x: Shadow, layers: dict[str, Linear]) -> Shadow:
        """Multi-head latent attention, roughly: queries and keys are put together from a plain and a rotated part."""
        ops, outline, positions = self.ops, self.outline, self.how.positions
        narrow = layers.get("q_a_proj")
        if narrow is None:
            query = ops.linear(x, layers["q_proj"])
        else:
            normed = ops.rms_norm(ops.linear(x, narrow), narrow.outputs, "of queries")
            query = ops.linear(normed, layers["q_b_proj"])
        latent = layers["kv_b_proj"].inputs
        whole = ops.linear(x, layers["kv_a_proj_with_mqa"])
        both = ops.linear(
            ops.rms_norm(ops.part(whole, positions * latent), latent, "of keys"), layers["kv_b_proj"]
        )
        value = ops.part(both, positions * outline.heads * outline.value_width)
        key = ops.joined(
            [ops.part(both, both.size - value.size), ops.part(whole, query.size - both.size + value.size)]
        )
        query = ops.joined([query])
        mixed = ops.attention(query, key, value, outline.heads)
        return ops.linear(mixed, layers["o_proj"])

    def _feed_forward(self, x: Shadow, block: Block) -> Shadow:
        routed = {linear.name.rpartition(".")[2]: linear for linear in block.linears if linear.copies > 1}
        dense = {
            linear.name.rpartition(".")[2]: linear
            for linear in block.linears
            if linear.group == "mlp" and linear.module
        }
        if not routed:
            return self._dense(x, dense)
        mixed = self._routed(x, routed)
        return self.ops.add(mixed, self._dense(x, dense)) if dense else mixed

    def _dense(self, x: Shadow, layers: dict[str, Linear]) -> Shadow:
        ops = self.ops
        if "gate_proj" in layers:
            gated = ops.times(
                ops.mapped(ops.linear(x, layers["gate_proj"]), saves_input=True),
                ops.linear(x, layers["up_proj"]),
            )
            return ops.linear(gated, layers["down_proj"])
        first, last = layers.values()
        inner = ops.linear(x, first)
        if first.outputs == 2 * last.inputs:
            gate, up = ops.split(inner, [inner.size // 2] * 2)
            up = ops.times(up, ops.mapped(gate, saves_input=True))
            return ops.linear(up, last)
        inner = (
            self._gelu_in_parts(inner)
            if self.outline.family == "gpt2"
            else ops.mapped(inner, saves_input=True)
        )
        return ops.linear(inner, last)

    def _gelu_in_parts(self, x: Shadow) -> Shadow:
        """0.5 x (1 + tanh(c (x + 0.044715 x**3))), as transformers writes it for GPT-2; CUDA's autocast cubes in fp32."""
        ops = self.ops
        wide = ops.cast(x, FP32) if self.how.on_cuda and self.how.autocast else x
        half = ops.mapped(x)
        bent = ops.mapped(ops.mapped(ops.mapped(ops.add(x, ops.mapped(ops.power(wide)))), saves_result=True))
        return ops.times(half, bent)

    def _routed(self, x: Shadow, layers: dict[str, Linear]) -> Shadow:
        """A mixture, roughly: each token's row is copied for each of its experts, and the results are added up."""
        ops, tape = self.ops, self.tape
        first, last = layers.values()
        rows = self.how.positions * first.active
        copies = tape.made(rows * first.inputs, self.how.compute, (x,))
        held = (
            ops.weight(
                ops.block + linear.name,
                linear.copies * linear.inputs * linear.outputs,
                trained=self.how.trained,
            )
            for linear in (first, last)
        )
        gate, up = ops.split(
            ops.product(copies, next(held), first.inputs, first.outputs), [rows * last.inputs] * 2
        )
        inner = ops.times(ops.mapped(gate, saves_input=True), up)
        results = ops.product(inner, next(held), last.inputs, last.outputs)
        weighted = ops.times(results, tape.new(rows, FP32))
        return tape.made(x.size, x.width, (weighted,))

    def loss(self, hidden: Shadow) -> Shadow:
        """The chunked loss (`whet.models.chunked`), whose gradients are made in the forward pass."""
        tape, outline, how = self.tape, self.outline, self.how
        if not how.all_learned:
            hidden = self.ops.copy(hidden)
        name = EMBEDDING if outline.tied else HEAD
        table = tape.weight(name, outline.vocab_size * outline.d_model, how.stream, trained=how.trained)
        towards_hidden = tape.new(hidden.size, hidden.width)
        towards_table: Storage | None = None
        chunk = chunk_positions(outline.vocab_size)
        sizes = [min(chunk, how.positions), min(chunk, how.positions - chunk)]
        for size in sizes if how.positions > chunk else sizes[:1]:
            grads = self._chunk(hidden, size)  # noqa: F841 - the last one is held while the next is made
            if towards_table is None and how.trained:
                towards_table = Storage(tape, table.size * FP32, "gradients")
        parts = [towards_hidden.storage, towards_table]
        shapes = [(hidden.size, hidden.width), (table.size, FP32)]

        def back(grads: list[Shadow]) -> list[Shadow | None]:
            first = tape.new(*shapes[0])
            return [first, tape.new(*shapes[1], "gradients") if how.trained else None]

        return Shadow(1, FP32, None, tape.node((hidden.node, table.node), parts, back))

    def _chunk(self, hidden: Shadow, size: int) -> tuple[Shadow | None, Storage | None]:
        """Gradients of `size` positions' loss: of the hidden states, and of the output matrix where it is trained."""
        tape, outline, ops, how = self.tape, self.outline, self.ops, self.how
        leaf = tape.weight("leaf", size * outline.d_model, hidden.width, trained=True)
        weight = ops.weight("chunk", outline.vocab_size * outline.d_model, trained=how.trained)
        value = self._cross_entropy(
            ops.product(leaf, weight, outline.d_model, outline.vocab_size, kind="logits")
        )
        assert value.node is not None
        towards = tape.backward(value.node, tape.new(1, FP32), stop=leaf.node)
        return towards, tape.gradients.pop("chunk", None)

    def _cross_entropy(self, logits: Shadow) -> Shadow:
        """In fp32: the log probabilities are saved; their gradient and that of the logits exist together."""
        tape, size, width = self.tape, logits.size, logits.width
        wide = logits
        if width != FP32:
            wide = tape.made(
                size, FP32, (logits,), kind="logits", back=lambda grads: [tape.new(size, width, "logits")]
            )
        del logits
        chances = tape.made(
            size,
            FP32,
            (wide,),
            kind="logits",
            saves_result=True,
            back=lambda grads: [tape.new(size, FP32, "logits")],
        )
        del wide
        return tape.made(1, FP32, (chances,), back=lambda grads: [tape.new(size, FP32, "logits")])


def _by_last_name(block: Block, group: str) -> dict[str, Linear]:
    return {linear.name.rpartition(".")[2]: linear for linear in block.linears if linear.group == group}
