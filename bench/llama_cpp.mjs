// What a real llama.cpp makes of a GGUF file, for llama_cpp.py: a line of JSON for each line on standard input.
// node llama_cpp.mjs FILE.gguf tokens: texts in, token ids out; greedy N: token ids in, N more out.
import {createInterface} from "node:readline";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const [path, what, length] = process.argv.slice(2);
const require = createRequire(process.cwd() + "/");  // where node-llama-cpp is installed
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const model = await llama.loadModel({modelPath: path});
const context = what === "tokens" ? null : await model.createContext({contextSize: 512, threads: 1});
const sequence = context?.getSequence();
for await (const line of createInterface({input: process.stdin})) {
    let found = [];
    if (what === "tokens")
        found = Array.from(model.tokenize(JSON.parse(line), false));
    else {
        await sequence.clearHistory();
        for await (const token of sequence.evaluate(JSON.parse(line), {temperature: 0})) {
            if (model.isEogToken(token) || found.push(token) >= Number(length)) break;
        }
    }
    console.log(JSON.stringify(found));
}
process.exit(0);
