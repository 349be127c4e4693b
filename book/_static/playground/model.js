// The page's side of worker.js: questions go out, answers come back in the same order.

export class Model {
  constructor(worker, onProgress) {
    this.questions = [];
    this.worker = worker;
    this.worker.onmessage = ({ data }) => {
      if (data.received) return onProgress(data.received, data.total);
      const { resolve, reject } = this.questions.shift();
      data.error ? reject(new Error(data.error)) : resolve(data);
    };
    // The worker itself did not start: a browser that knows no modules in workers.
    this.worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(event.message || "its worker did not start");
      this.questions.splice(0).forEach(({ reject }) => reject(error));
    };
  }

  ask(question) {
    return new Promise((resolve, reject) => {
      this.questions.push({ resolve, reject });
      this.worker.postMessage(question);
    });
  }

  // again: whether to pass by what the browser may have kept of it.
  load(address, again = false) {
    return this.ask({ load: String(address), again });
  }

  step(token, state) {
    return this.ask({ token, state });
  }

  end() {
    this.worker.terminate();
  }
}
