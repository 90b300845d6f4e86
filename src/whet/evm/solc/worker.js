// Runs one compiler (soljson.js, argument 2) for the process that started it: a line with standard JSON in, a line with
// its output back. No file is read for the compiler: every source comes with the input.
"use strict";
const fs = require("fs");
const path = require("path");
const { Worker } = require("worker_threads");

// A compilation hears nothing, not even that nobody waits for it any more: so a thread of its own looks after the parent.
const watching = `const parent = ${process.ppid};
setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, "SIGKILL"); }, 500);`;
new Worker(watching, { eval: true }).unref();

console.log = console.error; // standard output is for answers only
function say(text) {
  const bytes = Buffer.from(text + "\n");
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function* lines() {
  let parts = [];
  const buffer = Buffer.alloc(1 << 20);
  for (let size; (size = fs.readSync(0, buffer)) > 0; ) {
    let from = 0;
    for (let end; (end = buffer.subarray(0, size).indexOf(10, from)) >= 0; from = end + 1) {
      parts.push(Buffer.from(buffer.subarray(from, end)));
      yield Buffer.concat(parts).toString("utf8");
      parts = [];
    }
    parts.push(Buffer.from(buffer.subarray(from, size)));
  }
}

// 0.5 and newer take three arguments or two (an argument too many does no harm), 0.4 has another name. The zeros stand
// for the callback that would read imports.
function compiler(soljson) {
  const name = soljson._solidity_compile ? "solidity_compile" : "compileStandard";
  const call = soljson.cwrap(name, "string", ["string", "number", "number"]);
  const reset = soljson._solidity_reset ? soljson.cwrap("solidity_reset", null, []) : () => {};
  return (input) => {
    const output = call(input, 0, 0);
    reset();
    return output;
  };
}

const soljson = require(path.resolve(process.argv[2]));
for (const event of ["uncaughtException", "unhandledRejection"]) process.removeAllListeners(event);
const versionOf = soljson._solidity_version ? "solidity_version" : "version";
const compile = compiler(soljson);
say(JSON.stringify({ ready: soljson.cwrap(versionOf, "string", [])() }));
for (const input of lines()) {
  try {
    say(compile(input).replace(/\n/g, " "));
  } catch (error) {
    say(JSON.stringify({ crashed: String(error) }));
    process.exit(1); // a compiler that threw is in no state to go on
  }
}
