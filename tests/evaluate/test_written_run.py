"""A tiny model on Solidity written here, all the way: compiled, trained, asked, judged, and on the page (slow: a compiler)."""

from __future__ import annotations

from pathlib import Path

from whet.recipe.load import Loaded, load_recipe

CONTRACTS = {
    "Vault": """
    mapping(address => uint256) public stored;
    function put(uint256 amount) external { require(amount > 0, "nothing"); stored[msg.sender] += amount; }
    function take(uint256 amount) external returns (uint256) { stored[msg.sender] -= amount; return amount; }
    """,
    "Owned": """
    address public owner;
    function give(address next) external { require(msg.sender == owner, "not yours"); owner = next; }
    function mine() external view returns (bool) { return msg.sender == owner; }
    """,
    "Steps": """
    uint256 public reached;
    function climb(uint256 steps) external { for (uint256 i = 0; i < steps; i++) reached += i; }
    function rest() external { reached = 0; }
    """,
    "Numbers": """
    function largest(uint256 a, uint256 b, uint256 c) external pure returns (uint256) {
        uint256 most = a > b ? a : b;
        return most > c ? most : c;
    }
    function even(uint256 value) external pure returns (bool) { return value % 2 == 0; }
    """,
    "Switch": """
    bool public lit;
    event Switched(bool lit);
    function flip() external { lit = !lit; emit Switched(lit); }
    function burn(uint8 hours_) external pure returns (uint16) { return uint16(hours_) * 60; }
    """,
    "Times": """
    uint64 public begun;
    function begin() external { if (begun == 0) begun = uint64(block.timestamp); }
    function since() external view returns (uint256) { return block.timestamp - begun; }
    """,
}
RECIPE = """
name: written
seed: {seed}
device: cpu
precision: fp32
compile: "off"
prepare: {{validation_share: 0.0, test_share: 0.5, near_duplicate_similarity: null, cleaning: {{size: {{min_bytes: 1}}}}}}
tokenizer: {{vocab_size: 340}}
model: {{d_model: 16, layers: 1, heads: 2, d_ff: 32, context: 640}}
chat_template: plain
stages:
  - name: decompile
    objective: sft
    data: [{{source: solidity, path: contracts, families: file, metadata: both}}]
    batch_size: 2
    steps: 2
    learning_rate: 1e-2
evaluate:
  samples: 0
  floors: 0
  resamples: 100
  solidity: {{functions: 6, new_tokens: 24}}
"""


def written(folder: Path, seed: int = 3) -> Loaded:
    """The recipe and its contracts in `folder`."""
    (folder / "contracts").mkdir()
    for name, body in CONTRACTS.items():
        text = f"// SPDX-License-Identifier: MIT\npragma solidity 0.8.30;\ncontract {name} {{{body}}}\n"
        (folder / "contracts" / f"{name}.sol").write_text(text, "utf-8")
    (folder / "written.yaml").write_text(RECIPE.format(seed=seed), "utf-8")
    return load_recipe(str(folder / "written.yaml"), [f"output={folder / 'runs'}"])
