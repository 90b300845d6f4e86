// One of the contenders of evm_speed.py: sevm, an EVM decompiler in JavaScript (`npm install sevm@0.7.4` in some folder, which is the
// first argument). Reads lines of hex, answers each with a line of JSON: milliseconds, functions, characters of Solidity, and with
// the second argument `text` that Solidity too.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import readline from 'node:readline';

const require = createRequire(process.argv[2] + '/');
const { Contract } = await import(pathToFileURL(require.resolve('sevm')));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const started = performance.now();
  try {
    const contract = new Contract('0x' + line);
    const text = contract.solidify();
    console.log(JSON.stringify({ ms: performance.now() - started, functions: Object.keys(contract.functions ?? {}).length, characters: text.length, ...(process.argv[3] === 'text' ? { text } : {}) }));
  } catch (error) {
    console.log(JSON.stringify({ ms: performance.now() - started, failed: String(error).slice(0, 200) }));
  }
}
