"""What the models are asked, and what they are compared with.

    tasks        small questions with one right answer each, by length
    bench        eight networks of one size that learn them
    clock        channels that follow a text's lines, and what happens without them
    contenders   what RWKV is compared with, at one size: to build, to load, to save
    one_body     one network with the rules of six members of the family
    one_process  a step of several processes beside that of one
    evaluation   held-out text, read by rules that are the same for all
    context      the same bytes, predicted after more and after less
    correcting   what an RWKV-7 takes out of its tables, and what a slip in it costs
    probing      what a linear map reads off a state
    recall       what a network still knows of a name that it read before
    remembering  a letter is said, and asked for up to 200 tokens later
    replacing    a function of a module in the place of another
    tracing      one token through RWKV-4, box by box
    swapping     cheaper attentions in the place of softmax in a trained layer

The records of long runs are in `results`.
"""
