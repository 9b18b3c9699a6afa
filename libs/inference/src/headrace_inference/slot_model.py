"""A GroupQueryAttention model bound to one KV buffer that is cut into slots.

Past and present of the graph are the same memory: a prefill chunk is bound to one slot's view, a decode step to the
views of the first n slots, each row with its own length. The buffer is all the memory that sequences keep: slots x
tokens x layers x 2 x kv_heads x head_width x 4 bytes. A run has scores beside it: heads x rows x tokens of a slot x 4
bytes. Whose sequence is in which slot is the engine's business.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace_inference.onnx_session import load_onnxruntime

Logits = npt.NDArray[np.float32]
Head = list[npt.NDArray[np.float32]]
_PROBED_LENGTHS = 1, 15  # few: what depends on how many rows there are is products of matrices, which see no lengths


class SlotModel:
    """One session and its buffer of `slots` slots, and one more where a prompt is read before it takes a slot.

    Where this CPU computes one row by other kernels than several, with other last bits, a lone sequence is decoded
    beside an idle slot (`rows_min` is 2); opening finds it out.
    Not thread-safe; `prefill` and `decode` block for one run of the graph.
    """

    def __init__(self, session: Any, *, slots: int, slot_tokens: int) -> None:
        self.slots, self.slot_tokens = slots, slot_tokens
        self._session = session
        rows = slots + 1
        caches = [item for item in session.get_inputs() if item.name.startswith("past_key_values.")]
        self._buffers = {  # written to, so that the memory is had now: first use took the first prompts 0.1 s each
            item.name: np.full((rows, item.shape[1], slot_tokens, item.shape[3]), 0, np.float32) for item in caches
        }
        self._bound = lru_cache(maxsize=2 * rows)(self._bind)
        self.rows_min = 1 if self._lone_rows_are_alike() else 2

    def prefill(self, tokens: Sequence[int], start: int) -> Logits:
        """Append `tokens` at position `start` of the prompt being read; return the logits after the last one."""
        total = np.array([start + len(tokens)])
        logits: Logits = self._run(np.array([tokens], np.int64), total, self.slots, self.slots + 1)[0]
        return logits

    def decode(self, tokens: Sequence[int], lengths: Sequence[int]) -> Logits:
        """Append one token to each of the first n slots, which hold `lengths` tokens; return logits [n, vocabulary].

        The slot after a lone one is overwritten.
        """
        rows = len(tokens)
        idle = max(0, self.rows_min - rows)
        ids = np.array([*tokens, *[0] * idle], np.int64)[:, None]
        totals = np.array([*lengths, *[0] * idle], np.int64) + 1
        return self._run(ids, totals, 0, rows + idle)[:rows]

    def settle(self, slot: int, length: int) -> None:
        """Copy the prompt that was read, of `length` tokens, into a slot."""
        self.move(self.slots, slot, length)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot over another."""
        for buffer in self._buffers.values():
            buffer[target, :, :length] = buffer[source, :, :length]

    def copy_head(self, length: int) -> Head:
        """Return a copy of the first `length` tokens of the prompt being read."""
        return [buffer[self.slots, :, :length].copy() for buffer in self._buffers.values()]

    def put_head(self, head: Head) -> None:
        """Begin a prompt with what `copy_head` returned."""
        for buffer, part in zip(self._buffers.values(), head, strict=True):
            buffer[self.slots, :, : part.shape[1]] = part

    def _run(self, ids: npt.NDArray[np.int64], totals: npt.NDArray[np.int64], first: int, end: int) -> Logits:
        mask = (np.arange(totals.max())[None] < totals[:, None]).astype(np.int64)
        binding = self._bound(first, end)
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("attention_mask", mask)
        binding.bind_output("logits", "cpu")  # anew each time: else the last run's would be written over
        self._session.run_with_iobinding(binding)
        logits: Logits = binding.get_outputs()[0].numpy()
        return logits[:, -1]

    def _bind(self, first: int, end: int) -> Any:
        """Return a binding of all caches, read and written in place, to the slots from `first` to `end`."""
        binding, wrap = self._session.io_binding(), load_onnxruntime().OrtValue.ortvalue_from_numpy
        binding.bind_output("logits", "cpu")
        for name, buffer in self._buffers.items():
            view = wrap(buffer[first:end])
            binding.bind_ortvalue_input(name, view)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), view)
        return binding

    def _lone_rows_are_alike(self) -> bool:
        """Decode a sequence alone and beside another, and compare to the last bit."""
        noise, seen = np.random.default_rng(0), max(_PROBED_LENGTHS) + 1
        for buffer in self._buffers.values():
            part = buffer[:2, :, :seen]
            part[:] = noise.standard_normal(part.shape, np.float32)
        lengths = [length for length in _PROBED_LENGTHS if length < self.slot_tokens]
        alike = all(np.array_equal(self._probe(1, length), self._probe(2, length)) for length in lengths)
        for buffer in self._buffers.values():
            buffer[:2, :, :seen] = 0
        return alike

    def _probe(self, rows: int, length: int) -> Logits:
        logits: Logits = self._run(np.ones((rows, 1), np.int64), np.full(rows, length + 1), 0, rows)[0]
        return logits
