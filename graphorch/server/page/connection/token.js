// The token of the server: taken out of the address at once, and kept for this tab only.
//
// Threats: a link or a screenshot shows the address (so it is replaced before anything is drawn); a
// server on another port reads what a host shares (so it is no cookie); a later server on this port
// reads what the origin keeps (so it lies in sessionStorage, which ends with the tab, and a server
// makes a new token each time it starts). A reload keeps it. A second tab asks the first by a
// channel that only pages of this origin hear.
const KEY = "graphorch.token";
const CHANNEL = "graphorch.token";
const PATIENCE = 250; // milliseconds for another tab to answer

// Takes `#token=…`, followed by `&` and the rest of the address if there is one.
export function takeToken() {
  const found = /^#token=([^&]+)&?(.*)$/.exec(location.hash);
  if (!found) return sessionStorage.getItem(KEY) ?? "";
  const token = decodeURIComponent(found[1]);
  sessionStorage.setItem(KEY, token);
  history.replaceState(null, "", `${location.pathname}#${found[2]}`);
  return token;
}

export function dropToken() {
  sessionStorage.removeItem(KEY);
}

// Asks the other tabs of this page; gives "" if none has a token.
export function borrowToken() {
  return new Promise((resolve) => {
    const channel = new BroadcastChannel(CHANNEL);
    const give = (token) => {
      channel.close();
      if (token) sessionStorage.setItem(KEY, token);
      resolve(token);
    };
    const end = setTimeout(give, PATIENCE, "");
    channel.onmessage = ({ data }) => {
      if (typeof data.token !== "string") return;
      clearTimeout(end);
      give(data.token);
    };
    channel.postMessage({ wants: true });
  });
}

// Lends the token to tabs that are opened from now on.
export function lendToken() {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    const token = sessionStorage.getItem(KEY);
    if (data.wants && token) channel.postMessage({ token });
  };
}
