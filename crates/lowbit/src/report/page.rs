//! A page of HTML that needs nothing beside it: style and pictures lie inside, nothing is loaded, nothing runs. Light or dark as the reader's
//! system is, readable on a telephone and on a wide screen.

use std::fmt::Write as _;

use data::Picture;

use crate::{Error, Result};

/// A page that grows from top to bottom.
///
/// ```
/// use lowbit::report::page::Page;
/// let mut page = Page::new("Results of <net>");
/// page.heading("Speed").paragraph("Two models, by turns.");
/// page.table(&["model", "ms"], &[vec!["a".into(), "1.5".into()]]);
/// let html = page.finish();
/// assert!(html.starts_with("<!doctype html>") && html.contains("Results of &lt;net&gt;"));
/// ```
#[derive(Debug, Clone)]
pub struct Page {
    html: String,
}

impl Page {
    /// A page with its title as first heading.
    pub fn new(title: &str) -> Page {
        let title = escape(title);
        let mut html = String::new();
        let _ = write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        );
        Page { html }
    }

    /// A heading of a part.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.line("h2", "", text)
    }

    /// Plain text.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.line("p", "", text)
    }

    /// Small grey text: protocol, provenance.
    pub fn note(&mut self, text: &str) -> &mut Self {
        self.line("p", " class=\"note\"", text)
    }

    fn line(&mut self, tag: &str, attributes: &str, text: &str) -> &mut Self {
        let _ = writeln!(self.html, "<{tag}{attributes}>{}</{tag}>", escape(text));
        self
    }

    /// A table; the first column is left-aligned, the others right-aligned. It scrolls by itself where it is wider than the page.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> &mut Self {
        let cells = |tag: &str, row: &mut dyn Iterator<Item = &str>| {
            row.map(|c| format!("<{tag}>{}</{tag}>", escape(c)))
                .collect::<String>()
        };
        let head = cells("th", &mut header.iter().copied());
        let _ = writeln!(
            self.html,
            "<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>"
        );
        for row in rows {
            let row = cells("td", &mut row.iter().map(String::as_str));
            let _ = writeln!(self.html, "<tr>{row}</tr>");
        }
        self.html.push_str("</tbody>\n</table></div>\n");
        self
    }

    /// Pictures side by side with captions, as many in a row as `columns` or as fit.
    pub fn pictures(&mut self, columns: usize, all: &[(impl AsRef<str>, Jpeg)]) -> &mut Self {
        let _ = writeln!(self.html, "<div class=\"row\" style=\"--columns:{columns}\">");
        for (caption, picture) in all {
            let (source, caption) = (base64(&picture.bytes), escape(caption.as_ref()));
            let (width, height) = (picture.width, picture.height);
            let _ = writeln!(
                self.html,
                "<figure><img src=\"data:image/jpeg;base64,{source}\" width=\"{width}\" height=\"{height}\" alt=\"{caption}\">\
                 <figcaption>{caption}</figcaption></figure>"
            );
        }
        self.html.push_str("</div>\n");
        self
    }

    /// Charts, as many in a row as `columns` or as stay readable.
    pub fn charts(&mut self, columns: usize, svgs: &[String]) -> &mut Self {
        let _ = writeln!(
            self.html,
            "<div class=\"row charts\" style=\"--columns:{columns}\">"
        );
        svgs.iter().for_each(|svg| self.html.push_str(svg));
        self.html.push_str("</div>\n");
        self
    }

    /// Text to copy, such as a command.
    pub fn code(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.html, "<pre><code>{}</code></pre>", escape(text));
        self
    }

    /// A part that is folded until the reader opens it.
    pub fn folded(&mut self, summary: &str, fill: impl FnOnce(&mut Page)) -> &mut Self {
        let _ = writeln!(self.html, "<details><summary>{}</summary>", escape(summary));
        fill(self);
        self.html.push_str("</details>\n");
        self
    }

    /// HTML of the caller's own, such as SVG; names in it must be [escaped](escape()).
    pub fn raw(&mut self, html: &str) -> &mut Self {
        self.html.push_str(html);
        self
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.html.push_str("</main>\n</body>\n</html>\n");
        self.html
    }
}

/// Text as it stands in HTML and in quoted attributes; control characters are [shown](crate::text::printable).
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::text::printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A picture as it stands in files and pages, at a tenth of the bytes of PNG.
#[derive(Debug, Clone)]
pub struct Jpeg {
    bytes: Vec<u8>,
    width: usize,
    height: usize,
}

impl Jpeg {
    /// Encodes a picture.
    ///
    /// # Errors
    /// A picture too large for JPEG.
    pub fn of(picture: &Picture) -> Result<Jpeg> {
        let bytes = data::picture::encode_jpeg(picture, 92).map_err(|e| Error::bad(e.to_string()))?;
        let (width, height) = (picture.width(), picture.height());
        Ok(Jpeg { bytes, width, height })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let at = |i: usize| u32::from(part.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for k in 0..4 {
            match k <= part.len() {
                true => out.push(char::from(LETTERS[(word >> (18 - 6 * k) & 63) as usize])),
                false => out.push('='),
            }
        }
    }
    out
}

const STYLE: &str = "\
:root { color-scheme: light dark; --ground: #fff; --ink: #1d1f24; --soft: #5d6470; --line: #d9dce2; --stripe: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181d; --ink: #e4e6ea; --soft: #9aa1ad; --line: #343942; --stripe: #1e2127; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { max-width: 46rem; margin: .6rem 0; }
.note { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .35rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
/* Tables of a name and a value fit a narrow page. */
tr > :first-child:nth-last-child(2) { white-space: normal; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: .3rem; }
tbody tr:nth-child(even) { background: var(--stripe); }
.row { display: grid; gap: .8rem; margin: .8rem 0;
  grid-template-columns: repeat(auto-fit, minmax(max(var(--least), calc(100% / var(--columns) - .8rem)), 1fr)); --least: 9rem; }
.charts { --least: min(100%, 18rem); }
@media (max-width: 40rem) { .row:not(.charts) { --least: calc(50% - .4rem); } }
figure { margin: 0; }
pre { background: var(--stripe); border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem; margin: .6rem 0; font-size: .9rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--soft); }
.map { display: flex; flex-wrap: wrap; gap: 3px; margin: .8rem 0; font-size: .62rem; line-height: 1.2; }
.map span { position: relative; width: 4.6rem; height: 2.1rem; padding: .2rem .25rem; overflow: hidden; border: 1px solid var(--line);
  border-radius: 3px; background: color-mix(in srgb, #e5533d var(--heat, 0%), var(--ground)); }
.map .none { border-style: dashed; color: var(--soft); }
.map b { position: absolute; right: .2rem; bottom: .1rem; font-size: .8rem; }
@media (max-width: 40rem) { .map span { width: 3.4rem; } }
img, svg { display: block; width: 100%; height: auto; border-radius: 4px; }
figcaption { color: var(--soft); font-size: .82rem; padding: .25rem 0; overflow-wrap: anywhere; }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn no_name_can_open_a_tag_or_leave_an_attribute() {
        let name = "<script>\"'&\u{1b}";
        let mut page = Page::new(name);
        page.heading(name)
            .paragraph(name)
            .table(&[name], &[vec![name.into()]]);
        page.pictures(2, &[(name, Jpeg::of(&Picture::filled(2, 2, [9; 3])).unwrap())]);
        let html = page.finish();
        assert!(!html.contains("<script") && !html.contains('\u{1b}'));
        assert_eq!(html.matches("&lt;script&gt;&quot;&#39;&amp;\\u{1b}").count(), 8);
    }

    #[test]
    fn a_page_loads_nothing() {
        let mut page = Page::new("x");
        page.pictures(2, &[("a", Jpeg::of(&Picture::filled(2, 2, [9; 3])).unwrap())]);
        let html = page.finish();
        assert!(html.contains("src=\"data:image/jpeg;base64,/9j/"));
        for outside in ["http:", "https:", "url(", "<script", "<link", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
