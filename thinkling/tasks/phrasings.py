"""How English says what a quantity is: templates over the quantity that a sentence defines (no digit) and those it is
made from (2 and 3); `scenes.fill` fills them.

{np} a noun phrase, {label} a short name, {H} the holder, {items} and {item} what is counted or the unit, {noun} the
same in the number that {n} asks for, {amount} the number (of a measure with its unit), {than2} what stands behind
"than". Those under UNSEEN are kept for the split `rephrased`. Left out: pronouns across sentences, which shuffling
would break.
"""

# --- phrasings: of both sorts of scene, of counted things, of measures ----------------------------------------------

BOTH = {
    "given": ["{np} is {amount}.", "We know that {np} is {amount}.", "{np} equals {amount}."],
    "more": ["{np} is {amount} more than {np2}.", "{np} is {np2} plus {amount}.", "{np2} plus {amount} is {np}.",
             "{np2} plus {amount} equals {np}.", "Adding {amount} to {np2} makes {np}.",
             "If you add {amount} to {np2}, you get {np}.", "Add {amount} to {np2} to get {np}.",
             "{np} is {amount} greater than {np2}.", "Compared with {np2}, {np} is {amount} more."],
    "fewer": ["{np} is {amount} less than {np2}.", "{np} is {np2} minus {amount}.",
              "{np2} minus {amount} equals {np}.", "{np2} minus {amount} leaves {np}.",
              "Compared with {np2}, {np} is {amount} less.",
              "If you subtract {amount} from {np2}, you get {np}.", "Subtract {amount} from {np2} to get {np}.",
              "Subtracting {amount} from {np2} gives {np}.", "{np} is {amount} smaller than {np2}.",
              "You get {np} if you subtract {amount} from {np2}."],
    "times": ["{np} is {times} {np2}.", "{np} is {np2} times {n}.", "If you multiply {np2} by {n}, you get {np}.",
              "{np2} times {n} equals {np}.", "{np2} times {n} makes {np}.", "{np2} times {n} is {np}.",
              "You get {np} if you multiply {np2} by {n}.",
              "Multiply {np2} by {n} to get {np}.", "Multiplying {np2} by {n} gives {np}."],
    "part": ["{np} is {part} of {np2}.", "{np} is {np2} divided by {n}.", "If you divide {np2} by {n}, you get {np}.",
             "{np2} divided by {n} equals {np}.", "{np2} divided by {n} makes {np}.",
             "Dividing {np2} by {n} makes {np}.",
             "Divide {np2} by {n} to get {np}.", "Dividing {np2} by {n} gives {np}."],
    "sum": ["{np} is the sum of {np2} and {np3}.", "{np} is {np2} plus {np3}.", "{np2} plus {np3} is {np}.",
            "{np2} plus {np3} equals {np}.", "The sum of {np2} and {np3} equals {np}.", "{np2} and {np3} make {np}.",
            "If you add {np2} and {np3}, you get {np}.", "Add {np2} and {np3} to get {np}.",
            "Adding {np2} and {np3} gives {np}."],
    "difference": ["{np} is the difference between {np2} and {np3}.", "{np} is {np2} minus {np3}.",
                   "{np2} minus {np3} equals {np}.", "The difference between {np2} and {np3} equals {np}.",
                   "{np2} minus {np3} leaves {np}.", "The difference between {np2} and {np3} is {np}.",
                   "If you subtract {np3} from {np2}, you get {np}.", "Subtract {np3} from {np2} to get {np}.",
                   "Subtracting {np3} from {np2} gives {np}.", "You get {np} if you subtract {np3} from {np2}."],
}  # fmt: skip
OF_COUNTED = {
    "given": ["{H} {s} {n} {noun}.", "{H} {s} exactly {n} {noun}.", "We know that {H} {s} {n} {noun}.",
              "{H} counts {his} {items}: there are {n}.", "There are {n} {noun} that {H} {s}.",
              "{H} {s} some {items}, and there are {n} of them."],
    "more": ["{H} {s} {n} more {noun} than {than2}.", "{H} {s} {n} {noun} more than {than2}.",
             "{H2} {s} some {items2}, and {H} {s} {n} more {noun} than that.",
             "Compared with {H2}, {H} {s} {n} more {noun}."],
    "fewer": ["{H} {s} {n} fewer {noun} than {than2}.", "{H} {s} {n} {noun} fewer than {than2}.",
              "{H2} {s} some {items2}, and {H} {s} {n} fewer {noun} than that."],
    "times": ["{H} {s} {times} as many {items} as {than2}.", "For every {item2} that {H2} {s}, {H} {s} {n} {items}.",
              "{H} {s} {n} {items} for each {item2} that {H2} {s}.",
              "{H2} {s} some {items2}, and {H} {s} {times} as many {items} as that.",
              "Compared with {H2}, {H} {s} {times} as many {items}."],
    "part": ["{H} {s} {part} as many {items} as {than2}.",
             "{H2} {s} some {items2}, and {H} {s} {part} as many {items} as that."],
    "sum": ["{H} {s} as many {items} as {label2} and {label3} together.",
            "{label2} and {label3} together are as many as {label}."],
    "difference": ["{label} are as many as {label2} minus {label3}.",
                   "If {label3} were taken away from {label2}, as many as {label} would be left.",
                   "{label} are as many as {label2} if {label3} were taken away."],
}  # fmt: skip
OF_MEASURED = {
    "given": ["{H} {s} {n} {noun}{behind}.", "{H} {s} exactly {n} {noun}{behind}.",
              "We know that {H} {s} {n} {noun}{behind}."],
    "more": ["{H} {s} {n} {noun} {more} than {H2}.", "{H} {s} {more} than {H2}, by {n} {noun}.",
             "Compared with {H2}, {H} {s} {n} {noun} {more}."],
    "fewer": ["{H} {s} {n} {noun} {less} than {H2}.", "{H} {s} {less} than {H2}, by {n} {noun}."],
    "times": ["{H} {s} {times} as {much} as {H2}.", "{H} {s} as {much} as {n} times {H2}.",
              "Compared with {H2}, {H} {s} {times} as {much}."],
    "part": ["{H} {s} {part} as {much} as {H2}."],
    "sum": ["{H} {s} as {much} as {H2} and {H3} together."],
    "difference": ["{H} {s} as {much} as the difference between {H2} and {H3}."],
}  # fmt: skip
# The words are all seen, and every form too, of other relations: what is new is to read this relation so.
UNSEEN = {
    "given": ["{np} is exactly {amount}."],
    "more": ["Adding {amount} to {np2} gives {np}.", "You get {np} if you add {amount} to {np2}."],
    "fewer": ["{np2} minus {amount} is {np}.", "Subtracting {amount} from {np2} makes {np}."],
    "times": ["Multiplying {np2} by {n} makes {np}."],
    "part": ["{np2} divided by {n} is {np}.", "You get {np} if you divide {np2} by {n}."],
    "sum": ["The sum of {np2} and {np3} is {np}.", "You get {np} if you add {np2} and {np3}."],
    "difference": ["{np2} minus {np3} is {np}.", "Subtracting {np3} from {np2} makes {np}."],
}
UNSEEN_COUNTED = {
    "given": ["{H} {s} some {items}: there are {n}."],
    "more": ["{H} {s} more {items} than {than2}, by {n}."],
    "fewer": ["Compared with {H2}, {H} {s} {n} fewer {noun}.", "{H} {s} fewer {items} than {than2}, by {n}."],
    "times": ["{H} {s} {n} {items} for every {item2} that {H2} {s}."],
    "part": ["Compared with {H2}, {H} {s} {part} as many {items}."],
    "sum": ["{label} are as many as {label2} and {label3} together."],
    "difference": ["{label} are as many as would be left if {label3} were taken away from {label2}."],
}
UNSEEN_MEASURED = {
    "given": ["We know that {H} {s} exactly {n} {noun}{behind}."],
    "more": ["{H} {s} {more} than {H2}, by exactly {n} {noun}."],
    "fewer": ["Compared with {H2}, {H} {s} {n} {noun} {less}."],
    "times": ["{H} {s} exactly {times} as {much} as {H2}."],
    "part": ["Compared with {H2}, {H} {s} {part} as {much}."],
    "sum": ["{H} {s} exactly as {much} as {H2} and {H3} together."],
    "difference": ["{H} {s} exactly as {much} as the difference between {H2} and {H3}."],
}
ASK = ["What is {np}?", "Find {np}.", "Can you tell {np}?"]
ASK_COUNTED = ["How many {items} {does} {H} {have}?", "Find out how many {items} {H} {s}.", "Tell how many {items} {H} "
               "{s}."]  # fmt: skip
ASK_SUM = ["What is the sum of {np2} and {np3}?", "What do you get if you add {np2} and {np3}?"]
ASK_DIFFERENCE = ["What is the difference between {np2} and {np3}?", "By how much is {np2} greater than {np3}?"]
ASK_UNSEEN = {
    "one": ["Find out {np}.", "Can you find {np}?"],
    "sum": ["Find the sum of {np2} and {np3}."],
    "difference": ["Find the difference between {np2} and {np3}."],
}
TIMES = {2: ("twice", "2 times"), 3: ("three times", "3 times"), 4: ("four times", "4 times"),
         5: ("five times", "5 times")}  # fmt: skip
PART = {2: ("half",), 3: ("a third",), 4: ("a quarter", "a fourth"), 5: ("a fifth",)}
