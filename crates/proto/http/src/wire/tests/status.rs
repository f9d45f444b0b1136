//! Status texts and built-in pages.

use crate::wire::status::{error_page, reason, visible};

fn page(status: u16, tokens: bool, padding: bool) -> String {
    let mut out = Vec::new();
    assert!(error_page(status, tokens, padding, &mut out));
    String::from_utf8(out).expect("text")
}

#[test]
fn pages() {
    assert_eq!(
        page(404, true, false),
        "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n\
         <center><h1>404 Not Found</h1></center>\r\n\
         <hr><center>nginx/1.31.4</center>\r\n</body>\r\n</html>\r\n"
    );
    assert_eq!(
        page(494, false, false),
        "<html>\r\n<head><title>400 Request Header Or Cookie Too Large</title></head>\r\n<body>\r\n\
         <center><h1>400 Bad Request</h1></center>\r\n<center>Request Header Or Cookie Too Large</center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    assert!(page(302, true, true).ends_with(
        "<center><h1>302 Found</h1></center>\r\n<hr><center>nginx/1.31.4</center>\r\n</body>\r\n</html>\r\n"
    ));
    assert!(page(401, true, false).contains("<h1>401 Authorization Required</h1>"));
    assert_eq!(page(500, true, true).matches("<!-- a padding").count(), 6);
    for status in [200, 204, 300, 304, 418, 499, 506, 999] {
        let mut out = Vec::new();
        assert!(!error_page(status, true, false, &mut out), "{status}");
        assert!(out.is_empty());
    }
}

#[test]
fn reasons() {
    for (status, text) in [
        (200, "OK"),
        (302, "Moved Temporarily"),
        (401, "Unauthorized"),
        (404, "Not Found"),
        (418, ""),
        (494, ""),
    ] {
        assert_eq!(reason(status), text);
    }
    assert_eq!((visible(494), visible(497), visible(499), visible(404)), (400, 400, 499, 404));
}
