"""`whet decompile`: bytecode to Solidity that was compiled and compared, each function with what came out of that.

`settle` makes the text of one contract and changes it until it compiles and nothing differs, or no way is left;
`record` keeps the result, `annotate`, `serial` and `page` show it; `given`, `endpoint`, `chain` find the code; `many`
does several at once. The text itself is written by `whet.evm.solidity`, compared by `whet.evm.verify`.
"""
