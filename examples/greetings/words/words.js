// The interface `words`, in JavaScript.
export const words = {
  greet(name) {
    return `Hello, ${name}! Greetings from JavaScript.`;
  },
};
